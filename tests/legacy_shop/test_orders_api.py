"""The orders API as clients see it: documents, pages, refusals, and requests sent twice."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.test import APIClient

from demo.provider import Control, ProviderServer
from legacy_shop.accounts.models import Address
from legacy_shop.cart.services import lines_of, set_quantity
from legacy_shop.orders.api_serializers import OrderSerializer, StaffOrderSerializer
from legacy_shop.orders.models import Order, OrderLine
from legacy_shop.payments.models import PaymentAttempt
from legacy_shop.payments.services import pay_order, settle_open
from router.idempotency.models import IdempotencyKey, TravellingKey
from tests.legacy_shop.samples import (
    ADDRESS,
    DECLINED,
    GOOD,
    at_once,
    client_of,
    make_customer,
    make_order,
    make_product,
    on_hand,
)

pytestmark = pytest.mark.django_db
KEYS = [
    "id",
    "number",
    "status",
    "payment",
    "currency",
    "total",
    "note",
    "placed_at",
    "paid_at",
    "closed_at",
    "ship_to",
    "lines",
]
ROUTES = (
    ("get", "/api/orders/"),
    ("post", "/api/orders/"),
    ("get", "/api/orders/1/"),
    ("post", "/api/orders/1/cancel/"),
    ("patch", "/api/orders/1/address/"),
    ("post", "/api/orders/1/pay/"),
    ("get", "/api/staff/orders/"),
    ("get", "/api/staff/orders/1/"),
)


@pytest.fixture
def customer() -> User:
    return make_customer()


@pytest.fixture
def client(customer: User) -> APIClient:
    return client_of(customer)


def place(client: APIClient, body: dict[str, Any], key: str | None = None) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post("/api/orders/", body, format="json", headers=headers)


def wish(*products: Any, **more: Any) -> dict[str, Any]:
    return {"lines": [{"product": product.pk, "quantity": 2} for product in products], "address": ADDRESS, **more}


def test_an_order_is_answered_as_the_contract_says(client: APIClient, provider: ProviderServer) -> None:
    product = make_product("12.50")

    response = place(client, wish(product, note="ring twice", payment={"card": GOOD}))

    order = Order.objects.get()
    assert response.status_code == 201
    assert list(response.json()) == KEYS
    assert response.json() == {
        "id": order.pk,
        "number": order.number,
        "status": "paid",
        "payment": "paid",
        "currency": "USD",
        "total": "25.00",
        "note": "ring twice",
        "placed_at": order.placed_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "paid_at": order.paid_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "closed_at": None,
        "ship_to": ADDRESS,
        "lines": [
            {
                "product": product.pk,
                "sku": product.sku,
                "name": product.name,
                "quantity": 2,
                "unit_price": "12.50",
                "amount": "25.00",
            }
        ],
    }
    assert client.get(f"/api/orders/{order.pk}/").content == response.content


def test_times_keep_their_microseconds_even_where_there_are_none(client: APIClient, customer: User) -> None:
    order = make_order(customer)
    Order.objects.update(placed_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert client.get(f"/api/orders/{order.pk}/").json()["placed_at"] == "2026-01-02T03:04:05.000000Z"


@pytest.mark.parametrize(
    ("attempts", "payment"),
    [
        ([], "none"),
        ([("charge", "open")], "open"),
        ([("charge", "failed")], "failed"),
        ([("charge", "failed"), ("charge", "open")], "open"),
        ([("charge", "failed"), ("charge", "succeeded")], "paid"),
        ([("charge", "succeeded"), ("refund", "open")], "refunding"),
        ([("charge", "succeeded"), ("refund", "failed")], "paid"),
        ([("charge", "succeeded"), ("refund", "failed"), ("refund", "succeeded")], "refunded"),
    ],
)
def test_payment_tells_what_became_of_the_money(
    client: APIClient, customer: User, attempts: list[tuple[str, str]], payment: str
) -> None:
    order = make_order(customer)
    for kind, state in attempts:
        PaymentAttempt.objects.create(
            order=order, kind=kind, state=state, amount=order.total, created_at=timezone.now()
        )
    assert client.get(f"/api/orders/{order.pk}/").json()["payment"] == payment


def test_the_list_is_newest_first_in_pages_and_of_one_customer(client: APIClient, customer: User) -> None:
    product = make_product(stock=100)
    orders = [make_order(customer, product) for _ in range(21)]
    make_order(product=product)
    Order.objects.filter(pk=orders[0].pk).update(placed_at=timezone.now() + timedelta(days=1))
    Order.objects.filter(pk__in=[orders[1].pk, orders[2].pk]).update(placed_at=timezone.now() - timedelta(days=1))

    first, second = (client.get(f"/api/orders/?page={page}").json() for page in (1, 2))

    assert (list(first), first["count"], first["page"], first["pages"]) == (
        ["count", "page", "pages", "results"],
        21,
        1,
        2,
    )
    ids = [order["id"] for order in first["results"] + second["results"]]
    assert ids == [orders[0].pk, *(order.pk for order in reversed(orders[3:])), orders[2].pk, orders[1].pk]
    assert client.get("/api/orders/").json() == first


@pytest.mark.parametrize("page", ["0", "-1", "2", "last", "", "1.5", "9" * 30])
def test_a_page_that_is_not_there_is_not_found(client: APIClient, page: str) -> None:
    response = client.get("/api/orders/", {"page": page})
    assert (response.status_code, response.json()) == (404, {"detail": "Invalid page."})


def test_no_orders_are_one_empty_page(client: APIClient) -> None:
    assert client.get("/api/orders/").json() == {"count": 0, "page": 1, "pages": 1, "results": []}


def test_longer_lists_need_no_more_queries(
    client: APIClient, customer: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(5):
        make_order(customer)
    with django_assert_num_queries(5):  # token, count, orders, lines, attempts
        assert len(client.get("/api/orders/").json()["results"]) == 5


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_the_anonymous_are_asked_for_a_token(method: str, path: str) -> None:
    response = getattr(APIClient(), method)(path)
    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Token")


def test_the_orders_of_others_do_not_exist(client: APIClient) -> None:
    order = make_order()
    for method, path in ROUTES[2:6]:
        body = ADDRESS if method == "patch" else {"card": GOOD}
        response = getattr(client, method)(path.replace("1", str(order.pk)), body, format="json")
        assert (response.status_code, response.json()) == (404, {"detail": "No Order matches the given query."})
    assert client.get(f"/api/orders/{10**30}/").status_code == 404
    order.refresh_from_db()
    assert order.status == Order.Status.PENDING


def test_an_address_can_come_from_the_address_book(client: APIClient, customer: User) -> None:
    entry = Address.objects.create(user=customer, **ADDRESS)

    response = place(client, {**wish(make_product()), "address": entry.pk})

    assert (response.status_code, response.json()["ship_to"]) == (201, ADDRESS)
    assert Order.objects.get().shipping_address == entry


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"lines": []}, "lines"),
        ({"lines": [{"product": 1, "quantity": 0}]}, "lines"),
        ({"lines": [{"product": 1, "quantity": 1000}]}, "lines"),
        ({"lines": [{"product": 10**30, "quantity": 1}]}, "lines"),
        ({"lines": "all of it"}, "lines"),
        ({"lines": [{"product": 10**12, "quantity": 1}]}, "lines"),
        ({"cart": True}, "lines"),
        ({"address": 10**12}, "address"),
        ({"address": 10**30}, "address"),
        ({"address": True}, "address"),
        ({"address": None}, "address"),
        ({"address": {**ADDRESS, "country": "GBR"}}, "address"),
        ({"address": {"name": "Ada"}}, "address"),
        ({"note": "n" * 501}, "note"),
        ({"note": "\u0000"}, "note"),
        ({"payment": {}}, "payment"),
        ({"payment": {"card": "c" * 65}}, "payment"),
    ],
)
def test_a_wrong_order_is_told_which_field_is_wrong(client: APIClient, change: dict[str, Any], field: str) -> None:
    response = place(client, {**wish(make_product()), **change})
    assert response.status_code == 400
    assert list(response.json()) == [field]
    assert not Order.objects.exists()


@pytest.mark.parametrize("body", [{"address": ADDRESS}, {"address": ADDRESS, "cart": False}])
def test_an_order_of_nothing_is_refused(client: APIClient, body: dict[str, Any]) -> None:
    response = place(client, body)
    assert (response.status_code, response.json()) == (400, {"lines": ["This field is required."]})


def test_too_little_stock_is_a_conflict(client: APIClient) -> None:
    product = make_product(stock=1)

    response = place(client, wish(product))

    assert response.status_code == 409
    assert response.json() == {"code": "out_of_stock", "detail": f"{product.name} is out of stock."}
    assert on_hand(product) == 1


def test_the_cart_is_ordered_and_emptied(client: APIClient, customer: User) -> None:
    product = make_product()
    set_quantity(customer, product.pk, 3)

    response = place(client, {"cart": True, "address": ADDRESS}, key="cart")

    assert response.status_code == 201
    assert [line["quantity"] for line in response.json()["lines"]] == [3]
    assert not lines_of(customer).exists()
    assert place(client, {"cart": True, "address": ADDRESS}, key="cart").json() == response.json()
    empty = place(client, {"cart": True, "address": ADDRESS})
    assert (empty.status_code, empty.json()) == (400, {"cart": ["The cart is empty."]})


@pytest.mark.django_db(transaction=True)
def test_of_concurrent_checkouts_of_a_cart_one_places_an_order(customer: User) -> None:
    product = make_product(stock=50)
    set_quantity(customer, product.pk, 3)

    responses = at_once([lambda: place(client_of(customer), {"cart": True, "address": ADDRESS})] * 4)

    assert sorted(response.status_code for response in responses) == [201, 400, 400, 400]
    assert on_hand(product) == 47


def test_the_same_key_places_one_order(client: APIClient, provider: ProviderServer) -> None:
    body = wish(make_product(), payment={"card": GOOD})

    first, second = place(client, body, key="k-1"), place(client, body, key="k-1")

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.content == first.content
    assert second["Idempotency-Replayed"] == "true"
    assert second.json()["payment"] == "paid"
    assert Order.objects.count() == len(provider.ledger.rows("charge")) == 1


def test_the_same_key_with_another_order_is_refused(client: APIClient) -> None:
    product = make_product()
    place(client, wish(product), key="k-1")

    response = place(client, wish(product, note="another"), key="k-1")

    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
    assert Order.objects.count() == 1


def test_the_same_key_of_another_customer_is_another_key(client: APIClient) -> None:
    body = wish(make_product())
    assert (
        place(client, body, key="k-1").json()["id"] != place(client_of(make_customer()), body, key="k-1").json()["id"]
    )


@pytest.mark.django_db(transaction=True)
def test_the_same_request_many_times_at_once_places_one_order(customer: User, provider: ProviderServer) -> None:
    body = wish(make_product(stock=50), payment={"card": GOOD})
    clients = [client_of(customer) for _ in range(8)]

    responses = at_once([lambda client=client: place(client, body, key="k-1") for client in clients])

    assert {response.status_code for response in responses} <= {201, 409}
    assert len({response.json()["id"] for response in responses if response.status_code == 201}) == 1
    assert Order.objects.count() == len(provider.ledger.rows("charge")) == 1


def test_a_refused_order_is_refused_again_under_its_key(client: APIClient) -> None:
    product = make_product(stock=1)
    first = place(client, wish(product), key="k-1")
    product.stock.on_hand = 10
    product.stock.save()

    again = place(client, wish(product), key="k-1")

    assert (first.status_code, again.status_code, again.json()) == (409, 409, first.json())
    assert place(client, wish(product), key="k-2").status_code == 201


def test_without_the_providers_answer_the_order_stands_and_its_payment_is_open(
    client: APIClient, provider: ProviderServer
) -> None:
    provider.control = Control(fail_rate=1.0)

    response = place(client, wish(make_product(), payment={"card": GOOD}), key="k-1")

    assert (response.status_code, response.json()["status"], response.json()["payment"]) == (201, "pending", "open")
    provider.control = Control()
    settle_open(older_than=timedelta(0))
    assert client.get(f"/api/orders/{response.json()['id']}/").json()["payment"] == "paid"


def test_an_order_with_a_declined_card_waits_for_another(client: APIClient, provider: ProviderServer) -> None:
    placed = place(client, wish(make_product(), payment={"card": DECLINED}))
    assert (placed.status_code, placed.json()["status"], placed.json()["payment"]) == (201, "pending", "failed")

    path = f"/api/orders/{placed.json()['id']}/pay/"
    declined = client.post(path, {"card": DECLINED}, format="json")
    assert (declined.status_code, declined.json()["code"]) == (402, "declined")
    paid = client.post(path, {"card": GOOD}, format="json")
    assert (paid.status_code, paid.json()["status"], list(paid.json())) == (200, "paid", KEYS)
    twice = client.post(path, {"card": GOOD}, format="json")
    assert (twice.status_code, twice.json()["code"]) == (409, "not_payable")
    assert len(provider.ledger.rows("charge")) == 3


def test_paying_again_under_the_same_key_asks_nobody(
    client: APIClient, customer: User, provider: ProviderServer
) -> None:
    path = f"/api/orders/{make_order(customer).pk}/pay/"
    for card, status in ((DECLINED, 402), (GOOD, 200)):
        first, again = (
            client.post(path, {"card": card}, format="json", headers={"Idempotency-Key": card}) for _ in range(2)
        )
        assert (first.status_code, again.status_code, again.content) == (status, status, first.content)
    assert len(provider.ledger.rows("charge")) == 2


def test_who_is_told_that_the_payment_is_under_way_gets_its_answer_later(
    client: APIClient, customer: User, provider: ProviderServer
) -> None:
    """The charge is opened under a key of its own, which may be held when the client comes again under its own."""
    ask = partial(
        client.post,
        f"/api/orders/{make_order(customer).pk}/pay/",
        {"card": GOOD},
        format="json",
        headers={"Idempotency-Key": "p-1"},
    )
    paid = ask()
    IdempotencyKey.objects.filter(scope="payments").delete()
    TravellingKey.objects.all().delete()
    opening = IdempotencyKey.objects.filter(key__startswith="pay-")
    opening.update(state=IdempotencyKey.State.CLAIMED, lease_until=timezone.now() + timedelta(minutes=1))

    for _ in range(2):
        held = ask()
        assert (held.status_code, held.json()["code"], held["Retry-After"]) == (409, "idempotency_key_in_flight", "1")
    opening.update(state=IdempotencyKey.State.DONE)
    assert (ask().status_code, ask().json()) == (200, paid.json())


def test_paying_without_an_answer_is_open(client: APIClient, customer: User, provider: ProviderServer) -> None:
    provider.control = Control(fail_rate=1.0)
    response = client.post(f"/api/orders/{make_order(customer).pk}/pay/", {"card": GOOD}, format="json")
    assert (response.status_code, response.json()["payment"]) == (200, "open")


def test_cancelling_refunds_and_happens_once(client: APIClient, customer: User, provider: ProviderServer) -> None:
    order = make_order(customer)
    pay_order(order.pk, GOOD)
    path = f"/api/orders/{order.pk}/cancel/"

    first, again = (client.post(path, headers={"Idempotency-Key": "c-1"}) for _ in range(2))

    assert (first.status_code, first.json()["status"], first.json()["payment"]) == (200, "cancelled", "refunded")
    assert (again.status_code, again.content) == (200, first.content)
    other = client.post(path)
    assert (other.status_code, other.json()["code"]) == (409, "not_cancellable")
    assert len(provider.ledger.rows("refund")) == 1


def test_an_address_can_be_changed_until_the_parcel_leaves(client: APIClient, customer: User) -> None:
    order = make_order(customer)
    path, elsewhere = f"/api/orders/{order.pk}/address/", {**ADDRESS, "city": "Leeds"}

    changed = client.patch(path, elsewhere, format="json")
    assert (changed.status_code, changed.json()["ship_to"]) == (200, elsewhere)

    Order.objects.update(status=Order.Status.SHIPPED)
    refused = client.patch(path, ADDRESS, format="json")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_changeable")
    assert client.patch(path, {"city": "Leeds"}, format="json").status_code == 400


def test_staff_see_everybodys_orders_and_customers_do_not(client: APIClient, customer: User) -> None:
    staff = client_of(make_customer(is_staff=True))
    mine, other = make_order(customer), make_order()
    Order.objects.filter(pk=other.pk).update(status=Order.Status.SHIPPED)

    document = staff.get(f"/api/staff/orders/{mine.pk}/").json()
    assert list(document) == ["id", "number", "customer", *KEYS[2:]]
    assert document["customer"] == customer.pk
    assert [order["id"] for order in staff.get("/api/staff/orders/").json()["results"]] == [other.pk, mine.pk]
    assert [order["id"] for order in staff.get("/api/staff/orders/?status=shipped").json()["results"]] == [other.pk]
    assert staff.get("/api/staff/orders/?status=lost").json() == {"status": ['"lost" is not a valid choice.']}
    assert staff.get("/api/staff/orders/0/").json() == {"detail": "No Order matches the given query."}
    for path in ("/api/staff/orders/", f"/api/staff/orders/{mine.pk}/"):
        assert client.get(path).status_code == 403


def test_a_cookie_client_needs_a_csrf_token(customer: User) -> None:
    browser = APIClient(enforce_csrf_checks=True)
    browser.force_login(customer)
    assert place(browser, wish(make_product())).status_code == 403
    assert not Order.objects.exists()

    browser.get("/api/auth/csrf/")
    token = browser.cookies["csrftoken"].value
    assert browser.post("/api/orders/", wish(make_product()), format="json", HTTP_X_CSRFTOKEN=token).status_code == 201


def test_the_schema_describes_every_route_and_the_very_documents(client: APIClient, customer: User) -> None:
    schema = client.get("/api/schema/", HTTP_ACCEPT="application/vnd.oai.openapi+json").content
    paths = json.loads(schema)["paths"]
    for method, path in ROUTES:
        assert method in paths[path.replace("1", "{order_id}")], path
    order = make_order(customer)
    assert list(client.get(f"/api/orders/{order.pk}/").json()) == list(OrderSerializer().fields)
    staff = client_of(make_customer(is_staff=True)).get(f"/api/staff/orders/{order.pk}/").json()
    assert set(staff) == set(StaffOrderSerializer().fields)


def test_lines_keep_what_the_product_was_called(client: APIClient, customer: User) -> None:
    order = make_order(customer)
    product = OrderLine.objects.get(order=order).product
    before = client.get(f"/api/orders/{order.pk}/").content
    product.name, product.price = "Renamed", 99
    product.save()
    assert client.get(f"/api/orders/{order.pk}/").content == before


def test_an_unreachable_provider_does_not_fail_the_order(client: APIClient, settings: Settings) -> None:
    settings.PAYMENT_PROVIDER_URL = "http://127.0.0.1:1"
    response = place(client, wish(make_product(), payment={"card": GOOD}))
    assert (response.status_code, response.json()["payment"]) == (201, "open")
