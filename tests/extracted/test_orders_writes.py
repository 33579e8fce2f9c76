"""What the running service does to the shared database, and what it asks of the monolith."""

import threading
from typing import Any

from django.db import connections

from legacy_shop.cart.models import CartLine
from legacy_shop.orders.models import Order, OrderLine
from legacy_shop.payments.models import PaymentAttempt
from router.identity.tokens import verify
from tests.extracted import shop
from tests.extracted.conftest import SECRET, InternalListener, Service


def wish(*lines: tuple[Any, int], **fields: Any) -> dict[str, Any]:
    """Return the body of a request that places an order."""
    return {
        "lines": [{"product": product.pk, "quantity": quantity} for product, quantity in lines],
        "address": shop.HOME,
        **fields,
    }


def test_placing_takes_stock_and_keeps_the_order(service: Service) -> None:
    customer, product = shop.make_customer(), shop.make_product("12.50", on_hand=5)
    answer = service.call("POST", "/api/orders/", shop.identity(customer), body=wish((product, 2), note="ring twice"))
    assert answer.status_code == 201, answer.text
    document = answer.json()
    assert document["status"] == "pending"
    assert document["payment"] == "none"
    assert document["total"] == "25.00"
    assert document["ship_to"] == shop.HOME
    assert shop.on_hand(product) == 3
    order = Order.objects.get(pk=document["id"])
    assert (order.customer_id, order.number, order.note) == (customer.pk, document["number"], "ring twice")
    assert OrderLine.objects.get(order=order).amount == order.total
    assert not PaymentAttempt.objects.exists()


def test_paying_at_once_asks_the_monolith_after_the_commit(service: Service, listener: InternalListener) -> None:
    customer, product = shop.make_customer(), shop.make_product()
    seen: list[bool] = []

    def run(key: str) -> tuple[int, Any]:
        try:
            seen.append(PaymentAttempt.objects.filter(provider_key=key, state="open").exists())
            return 200, shop.settle(key)
        finally:
            connections.close_all()

    listener.answer = run
    body = wish((product, 1), payment={"card": "tok_visa"})
    headers = {"Idempotency-Key": "order-once"}
    answer = service.call("POST", "/api/orders/", shop.identity(customer), body=body, headers=headers)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["status"], answer.json()["payment"]) == ("paid", "paid")
    assert seen == [True]
    path, token = listener.calls[0]
    attempt = PaymentAttempt.objects.get()
    assert path == f"/internal/payments/attempts/{attempt.provider_key}/run/"
    assert verify(token, audience="monolith", secret=SECRET).kind == "service"

    again = service.call("POST", "/api/orders/", shop.identity(customer), body=body, headers=headers)
    assert (again.status_code, again.content) == (201, answer.content)
    assert Order.objects.count() == 1
    assert len(listener.calls) == 1


def test_an_unreachable_monolith_leaves_the_attempt_open(service: Service, listener: InternalListener) -> None:
    listener.answer = lambda key: (503, {"detail": "no"})
    customer, product = shop.make_customer(), shop.make_product()
    body = wish((product, 1), payment={"card": "tok_visa"})
    answer = service.call("POST", "/api/orders/", shop.identity(customer), body=body)
    assert answer.status_code == 201
    assert answer.json()["payment"] == "open"
    assert PaymentAttempt.objects.get().state == "open"


def test_the_last_piece_is_sold_once(service: Service) -> None:
    product = shop.make_product(on_hand=1)
    customers = [shop.make_customer() for _ in range(6)]
    answers: list[int] = []

    def buy(customer: Any) -> None:
        body = wish((product, 1))
        answers.append(service.call("POST", "/api/orders/", shop.identity(customer), body=body).status_code)

    threads = [threading.Thread(target=buy, args=(customer,)) for customer in customers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == [201, 409, 409, 409, 409, 409]
    assert shop.on_hand(product) == 0
    assert Order.objects.count() == 1


def test_out_of_stock_changes_nothing(service: Service) -> None:
    customer = shop.make_customer()
    plenty, scarce = shop.make_product(on_hand=9), shop.make_product(on_hand=1)
    body = wish((plenty, 2), (scarce, 2), payment={"card": "tok_visa"})
    answer = service.call("POST", "/api/orders/", shop.identity(customer), body=body)
    assert answer.status_code == 409
    assert answer.json()["code"] == "out_of_stock"
    assert (shop.on_hand(plenty), shop.on_hand(scarce)) == (9, 1)
    assert not Order.objects.exists()
    assert not PaymentAttempt.objects.exists()


def test_ordering_the_cart_empties_it(service: Service) -> None:
    customer, product, other = shop.make_customer(), shop.make_product(), shop.make_customer()
    shop.fill_cart(customer, (product, 3))
    shop.fill_cart(other, (product, 1))
    address = shop.make_address(customer)
    body = {"cart": True, "address": address.pk}
    answer = service.call("POST", "/api/orders/", shop.identity(customer), body=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["lines"][0]["quantity"] == 3
    assert Order.objects.get().shipping_address_id == address.pk
    assert list(CartLine.objects.values_list("cart__user_id", flat=True)) == [other.pk]


def test_cancelling_gives_stock_back_and_opens_a_refund(service: Service, listener: InternalListener) -> None:
    customer, product = shop.make_customer(), shop.make_product(on_hand=1)
    order = shop.make_order(customer, (product, 2), status="PAID")
    shop.make_attempt(order)
    path = f"/api/orders/{order.pk}/cancel/"
    answer = service.call("POST", path, shop.identity(customer))
    assert answer.status_code == 200, answer.text
    assert (answer.json()["status"], answer.json()["payment"]) == ("cancelled", "refunding")
    assert answer.json()["closed_at"].endswith("Z")
    assert shop.on_hand(product) == 3
    refund = PaymentAttempt.objects.get(kind="refund")
    assert (refund.state, refund.amount) == ("open", order.total)
    assert [path for path, _ in listener.calls] == [f"/internal/payments/attempts/{refund.provider_key}/run/"]

    again = service.call("POST", path, shop.identity(customer))
    assert (again.status_code, again.json()["code"]) == (409, "not_cancellable")
    assert shop.on_hand(product) == 3


def test_cancelling_an_unpaid_order_asks_nobody_for_money(service: Service, listener: InternalListener) -> None:
    customer, product = shop.make_customer(), shop.make_product()
    order = shop.make_order(customer, (product, 1))
    answer = service.call("POST", f"/api/orders/{order.pk}/cancel/", shop.identity(customer))
    assert (answer.status_code, answer.json()["payment"]) == (200, "none")
    assert not listener.calls


def test_an_address_changes_until_the_parcel_left(service: Service) -> None:
    customer, product = shop.make_customer(), shop.make_product()
    order = shop.make_order(customer, (product, 1), status="PAID")
    elsewhere = {**shop.HOME, "city": "Bern"}
    path = f"/api/orders/{order.pk}/address/"
    answer = service.call("PATCH", path, shop.identity(customer), body=elsewhere)
    assert (answer.status_code, answer.json()["ship_to"]) == (200, elsewhere)
    Order.objects.update(status=Order.Status.SHIPPED)
    refused = service.call("PATCH", path, shop.identity(customer), body=shop.HOME)
    assert (refused.status_code, refused.json()["code"]) == (409, "not_changeable")
    assert Order.objects.get().ship_city == "Bern"
