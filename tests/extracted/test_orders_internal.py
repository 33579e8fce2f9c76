"""What only the monolith may ask of the service, and the events that the service leaves in the outbox."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections

from legacy_shop.orders.models import Order
from legacy_shop.payments.models import PaymentAttempt
from migrations_plan.sync.events.models import OutboxEvent
from router.idempotency.models import IdempotencyKey
from router.identity import Identity
from tests.extracted import shop
from tests.extracted.conftest import Service
from tests.processes import wait_until

MONOLITH = Identity(subject="monolith", kind="service", staff=True)
LATER = (shop.NOON + timedelta(hours=1)).isoformat()
PAID_AT = "2026-01-03T08:30:00.250000Z"


def order_of(*, on_hand: int = 10, **fields: Any) -> tuple[Order, Any]:
    product = shop.make_product("12.50", on_hand=on_hand)
    return shop.make_order(shop.make_customer(), (product, 2), **fields), product


def told() -> list[tuple[str, str, int]]:
    """Return type, key and number of each event, in the order of publication."""
    return list(OutboxEvent.objects.order_by("pk").values_list("type", "key", "sequence"))


def pay(service: Service, order: Order, key: str = "pay", at: str = PAID_AT) -> Any:
    headers = {"Idempotency-Key": key}
    return service.call("POST", f"/internal/orders/{order.pk}/paid/", MONOLITH, body={"paid_at": at}, headers=headers)


def expire(service: Service, order: Order, key: str = "expire") -> Any:
    headers, body = {"Idempotency-Key": key}, {"placed_before": LATER}
    return service.call("POST", f"/internal/orders/{order.pk}/expire/", MONOLITH, body=body, headers=headers)


@pytest.mark.parametrize(
    "who",
    [None, Identity(subject="1", kind="session", staff=True, superuser=True), Identity(subject="1", kind="token")],
)
def test_nobody_else_is_let_in(service: Service, who: Identity | None) -> None:
    order, _ = order_of()
    for method, path in (
        ("POST", f"/internal/orders/{order.pk}/paid/"),
        ("POST", f"/internal/orders/{order.pk}/expire/"),
        ("GET", "/internal/orders/sold-lines/"),
    ):
        assert service.call(method, path, who, body={}).status_code == (401 if who is None else 403)


def test_paying(service: Service) -> None:
    order, _ = order_of()
    assert (pay(service, order).status_code, pay(service, order).json()) == (200, {"status": "paid"})
    order.refresh_from_db()
    assert (order.status, order.paid_at.isoformat()) == (Order.Status.PAID, "2026-01-03T08:30:00.250000+00:00")
    assert told() == [("orders.order.paid", str(order.pk), 1)]
    assert OutboxEvent.objects.get().payload == {
        "order": order.pk,
        "number": order.number,
        "customer": order.customer_id,
        "total": "25.00",
        "currency": "USD",
    }


@pytest.mark.parametrize("status", ["PAID", "SHIPPED", "CANCELLED", "EXPIRED"])
def test_what_does_not_wait_for_money_stays_as_it_is(service: Service, status: str) -> None:
    order, _ = order_of(status=status)
    assert pay(service, order).json() == {"status": status.lower()}
    order.refresh_from_db()
    assert (order.status, order.paid_at, told()) == (Order.Status[status], None, [])


def test_a_key_pays_once_whatever_happened_since(service: Service) -> None:
    order, _ = order_of()
    pay(service, order)
    Order.objects.update(status=Order.Status.SHIPPED)
    again = pay(service, order)
    assert (again.json(), again.headers["Idempotency-Replayed"]) == ({"status": "paid"}, "true")


def test_expiring_gives_the_stock_back(service: Service) -> None:
    order, product = order_of(on_hand=3)
    assert expire(service, order).json() == {"expired": True, "pieces": 2}
    assert expire(service, order, "another").json() == {"expired": False, "pieces": 0}
    order.refresh_from_db()
    assert (order.status, shop.on_hand(product)) == (Order.Status.EXPIRED, 5)
    assert told() == []


@pytest.mark.parametrize(("state", "expired"), [("open", False), ("succeeded", False), ("failed", True)])
def test_what_is_paid_or_about_to_be_does_not_expire(service: Service, state: str, expired: bool) -> None:
    order, _ = order_of()
    PaymentAttempt.objects.create(order=order, kind="charge", state=state, amount=order.total, created_at=shop.NOON)
    assert expire(service, order).json()["expired"] is expired


@pytest.mark.parametrize("fields", [{"status": "PAID"}, {"minutes": 61}])
def test_what_is_not_due_does_not_expire(service: Service, fields: dict[str, Any]) -> None:
    order, _ = order_of(**fields)
    assert expire(service, order).json() == {"expired": False, "pieces": 0}


def test_orders_that_there_are_not(service: Service) -> None:
    missing = Order(pk=987654)
    assert (pay(service, missing).status_code, expire(service, missing).status_code) == (404, 404)


@pytest.mark.parametrize("body", [{}, {"paid_at": "yesterday"}, {"placed_before": None}])
def test_bodies_that_say_nothing(service: Service, body: dict[str, Any]) -> None:
    order, _ = order_of()
    for what in ("paid", "expire"):
        assert service.call("POST", f"/internal/orders/{order.pk}/{what}/", MONOLITH, body=body).status_code == 400


def test_paid_cancelled_or_expired_but_one_of_them(service: Service) -> None:
    """All at once, several times over: the order ends in one way, and its stock and its events say which."""
    for number in range(6):
        order, product = order_of(on_hand=0)
        owner = Identity(subject=str(order.customer_id), kind="service")
        calls = (
            lambda order=order, number=number: pay(service, order, f"p{number}"),
            lambda order=order, number=number: expire(service, order, f"e{number}"),
            lambda order=order, owner=owner: service.call("POST", f"/api/orders/{order.pk}/cancel/", owner),
        )
        with ThreadPoolExecutor(3) as pool:
            assert all(answer.status_code in {200, 409} for answer in pool.map(lambda call: call(), calls))
        order.refresh_from_db()
        types = [kind.rpartition(".")[2] for kind, key, _ in told() if key == str(order.pk)]
        ends = {
            Order.Status.EXPIRED: ([], 2),
            Order.Status.PAID: (["paid"], 0),
            Order.Status.CANCELLED: (types if set(types) <= {"paid", "cancelled"} else [], 2),
        }
        expected, on_hand = ends[Order.Status(order.status)]
        assert (types, shop.on_hand(product)) == (expected, on_hand)
        assert types.count("cancelled") == (order.status == Order.Status.CANCELLED)
    connections.close_all()


def test_sold_lines_come_page_by_page(service: Service) -> None:
    customer, product = shop.make_customer(), shop.make_product("3.00")
    home = shop.make_address(customer)
    orders = [
        shop.make_order(customer, (product, n), status="PAID", paid_at=shop.NOON, shipping_address=home)
        for n in range(1, 6)
    ]
    shop.make_order(customer, (product, 9))
    PaymentAttempt.objects.create(order=orders[0], kind="refund", state="succeeded", amount=3, created_at=shop.NOON)
    pages, after = [], 0
    while after is not None:
        page = service.call("GET", f"/internal/orders/sold-lines/?after={after}&limit=2", MONOLITH).json()
        pages.append(page["results"])
        after = page["next"]
    assert [len(page) for page in pages] == [2, 2, 1]
    lines = [line for page in pages for line in page]
    assert [line["quantity"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[0] == {
        "line": orders[0].lines.get().pk,
        "order": orders[0].pk,
        "customer": customer.pk,
        "paid_at": "2026-01-02T12:00:00.123456Z",
        "product": product.pk,
        "quantity": 1,
        "amount": "3.00",
        "address": home.pk,
        "city": "Zürich",
        "refunded": True,
    }


@pytest.mark.parametrize("query", ["limit=0", "limit=5001", "after=-1", "after=x"])
def test_pages_that_there_are_not(service: Service, query: str) -> None:
    assert service.call("GET", f"/internal/orders/sold-lines/?{query}", MONOLITH).status_code == 400


class TestEvents:
    """What the service does to an order is in the outbox with it."""

    def place(self, service: Service, price: str = "12.50", **fields: Any) -> Any:
        customer, product = shop.make_customer(), shop.make_product(price)
        body = {"lines": [{"product": product.pk, "quantity": 1}], "address": shop.HOME, **fields}
        who = Identity(subject=str(customer.pk), kind="service")
        return who, service.call("POST", "/api/orders/", who, body=body, headers={"Idempotency-Key": "k"}), body

    def test_placing_and_cancelling(self, service: Service) -> None:
        who, placed, _ = self.place(service)
        order = placed.json()["id"]
        service.call("POST", f"/api/orders/{order}/cancel/", who)
        assert told() == [("orders.order.placed", str(order), 1), ("orders.order.cancelled", str(order), 2)]

    def test_a_free_order_is_placed_and_then_paid(self, service: Service) -> None:
        _, placed, _ = self.place(service, "0.00")
        order = str(placed.json()["id"])
        assert told() == [("orders.order.placed", order, 1), ("orders.order.paid", order, 2)]

    def test_a_replayed_answer_tells_nothing_new(self, service: Service) -> None:
        who, _, body = self.place(service)
        service.call("POST", "/api/orders/", who, body=body, headers={"Idempotency-Key": "k"})
        assert len(told()) == 1

    def test_an_order_at_another_price_than_was_shown_is_none(self, service: Service) -> None:
        _, refused, _ = self.place(service, expected_total="12.49")
        assert (refused.status_code, refused.json()) == (
            409,
            {"code": "cart_changed", "detail": "The cart or its prices have changed."},
        )
        assert (told(), Order.objects.count()) == ([], 0)
        assert self.place(service, expected_total="12.50", note="other key")[1].status_code in {201, 422}

    @pytest.mark.postgres
    def test_what_is_rolled_back_is_not_told(self, service: Service) -> None:
        """The key was taken by somebody else while the service worked: neither order nor event is left."""
        service.faults_file.write_text('{"hang_before_commit_ms": 1500}')
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(self.place, service)
            wait_until(lambda: IdempotencyKey.objects.filter(key="k").exists(), what="the service has claimed the key")
            IdempotencyKey.objects.filter(key="k").update(token="00000000-0000-0000-0000-000000000001", holder="legacy")
            assert late.result(30)[1].status_code == 409
        assert (told(), Order.objects.count()) == ([], 0)
