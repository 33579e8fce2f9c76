"""A change asked of the service leaves the same rows, and the same answer, as one asked of the monolith."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from legacy_shop.orders.models import Order
from legacy_shop.payments.models import PaymentAttempt
from migrations_plan.sync.events.models import OutboxEvent
from tests.extracted import shop
from tests.extracted.conftest import InternalListener, Service
from tests.extracted.sides import Answer, Sides

NOBODY_LISTENS = "http://127.0.0.1:1"
MINTED = ("id", "number", "placed_at")
"""What two orders never share."""


@pytest.fixture
def sides(service: Service, listener: InternalListener, settings: Any) -> Sides:
    """Return both sides; no payment provider can be reached from either."""
    settings.PAYMENT_PROVIDER_URL = NOBODY_LISTENS
    return Sides(service)


def test_malformed_and_reused_idempotency_keys(sides: Sides) -> None:
    customer, product = shop.make_customer(), shop.make_product()
    body = {"lines": [{"product": product.pk, "quantity": 1}], "address": shop.HOME}
    assert sides.both("POST", "/api/orders/", customer, body, Idempotency_Key="a b")[0] == 400
    headers = {"Idempotency-Key": "mine"}
    placed = sides.legacy("POST", "/api/orders/", customer, body, headers)
    assert placed[0] == 201
    status, content, seen = sides.both("POST", "/api/orders/", customer, body, Idempotency_Key="mine")
    assert (status, content, seen["Idempotency-Replayed"]) == (201, placed[1], "true")
    assert sides.both("POST", "/api/orders/", customer, {**body, "note": "x"}, Idempotency_Key="mine")[0] == 422
    assert Order.objects.count() == 1


def test_what_the_catalogue_refuses(sides: Sides) -> None:
    customer, other = shop.make_customer(), shop.make_customer()
    scarce, retired = shop.make_product(on_hand=1), shop.make_product(is_active=False)
    dear, unstocked = shop.make_product("99999999.99", on_hand=9999), shop.make_product(on_hand=0)
    unstocked.stock.delete()
    foreign = shop.make_address(other)

    def order(*products: Any, quantity: int = 1, **fields: Any) -> tuple[int, Any]:
        lines = [{"product": product.pk, "quantity": quantity} for product in products]
        body = {"lines": lines, "address": shop.HOME, **fields}
        status, content, _ = sides.both("POST", "/api/orders/", customer, body)
        return status, json.loads(content)

    assert order(scarce, quantity=2) == (409, {"code": "out_of_stock", "detail": f"{scarce.name} is out of stock."})
    assert order(scarce, scarce)[0] == 409
    assert order(unstocked)[0] == 409
    assert order(scarce, retired) == (400, {"lines": [f'Invalid pk "{retired.pk}" - object does not exist.']})
    assert list(order(dear, quantity=999)[1]) == ["lines"]
    assert order(retired, address=foreign.pk) == (
        400,
        {"address": [f'Invalid pk "{foreign.pk}" - object does not exist.']},
    )
    assert not Order.objects.exists()
    assert shop.on_hand(scarce) == 1


# --- writes: each side on its own twin of the same state ----------------------------------------------------


def rows_of(order_id: int) -> dict[str, Any]:
    """Return what the database holds of an order, without what two orders never share."""

    def values(rows: Any, *without: str) -> list[dict[str, Any]]:
        return [{name: row[name] for name in row if name not in without} for row in rows.values()]

    order = Order.objects.filter(pk=order_id)
    return {
        "order": values(order, *MINTED, "paid_at", "closed_at"),
        "times": [value is not None for value in order.values_list("paid_at", "closed_at")[0]],
        "lines": values(order.get().lines, "id", "order_id"),
        "attempts": values(order.get().payment_attempts, "id", "order_id", "provider_key", "created_at"),
    }


def masked(content: bytes, *names: str) -> str:
    """Return a document with some of its values hidden, its keys in their order."""
    document = json.loads(content)
    return json.dumps({name: value if name not in names else value is not None for name, value in document.items()})


def assert_twins(sides: Sides, ask: Callable[[Callable[..., Answer]], Answer], *hidden: str) -> tuple[int, str]:
    """Ask each side for the same change of its own twin and compare answers and rows."""
    answers = [ask(side) for side in (sides.legacy, sides.extracted)]
    (legacy, legacy_body, legacy_headers), (extracted, extracted_body, extracted_headers) = answers
    assert (extracted, extracted_headers) == (legacy, legacy_headers)
    assert masked(extracted_body, *MINTED, *hidden) == masked(legacy_body, *MINTED, *hidden)
    ids = [json.loads(body)["id"] for body in (legacy_body, extracted_body)]
    assert ids[0] != ids[1]
    assert rows_of(ids[1]) == rows_of(ids[0])
    return legacy, legacy_body.decode()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"note": " 'quotes' \u2028 é "},
        {"payment": {"card": "tok_visa"}},
        {"payment": None},
        {"cart": False},
        {"lines": 3},
        {"address": "book"},
        {"price": "0.00", "payment": {"card": "tok_visa"}},
    ],
    ids=str,
)
def test_placing(sides: Sides, fields: dict[str, Any]) -> None:
    customer = shop.make_customer()
    fields = dict(fields)
    price = fields.pop("price", "19.99")
    products = [shop.make_product(price, on_hand=100) for _ in range(fields.pop("lines", 1))]
    if fields.get("address") == "book":
        fields["address"] = shop.make_address(customer, city="Genève").pk
    lines = [{"product": product.pk, "quantity": number} for number, product in enumerate(reversed(products), 2)]
    body = {"lines": [*lines, *lines[:1]], "address": shop.HOME, **fields}
    stock = [sum(shop.on_hand(product) for product in products)]

    def ask(side: Callable[..., Answer]) -> Answer:
        answer = side("POST", "/api/orders/", customer, body, {})
        stock.append(sum(shop.on_hand(product) for product in products))
        return answer

    hidden = ("paid_at",) if price == "0.00" else ()
    status, document = assert_twins(sides, ask, *hidden)
    assert status == 201
    assert stock[0] - stock[1] == stock[1] - stock[2] > 0
    if price == "0.00":
        assert json.loads(document)["status"] == "paid"
        assert not PaymentAttempt.objects.exists()
    elif fields.get("payment"):
        assert json.loads(document)["payment"] == "open"


def test_ordering_the_cart(sides: Sides) -> None:
    customer, products = shop.make_customer(), [shop.make_product(on_hand=9), shop.make_product(on_hand=9)]

    def ask(side: Callable[..., Answer]) -> Answer:
        cart = shop.fill_cart(customer, (products[1], 2), (products[0], 1))
        answer = side("POST", "/api/orders/", customer, {"cart": True, "address": shop.HOME}, {})
        assert not cart.lines.exists()
        return answer

    assert assert_twins(sides, ask)[0] == 201


@pytest.mark.parametrize("attempts", shop.ATTEMPTS, ids=str)
@pytest.mark.parametrize("status", ["PENDING", "PAID"])
def test_cancelling(sides: Sides, status: str, attempts: tuple[tuple[str, str], ...]) -> None:
    customer, product = shop.make_customer(), shop.make_product()

    def ask(side: Callable[..., Answer]) -> Answer:
        order = shop.make_order(customer, (product, 2), status=status)
        for kind, state in attempts:
            shop.make_attempt(order, kind, state)
        return side("POST", f"/api/orders/{order.pk}/cancel/", customer, None, {})

    assert assert_twins(sides, ask, "closed_at")[0] == 200
    assert shop.on_hand(product) == 14


@pytest.mark.parametrize("status", ["PENDING", "PAID"])
def test_changing_the_address(sides: Sides, status: str) -> None:
    customer, product = shop.make_customer(), shop.make_product()
    entry = shop.make_address(customer)
    elsewhere = {"name": " Bob ", "street": "A'b\"c", "city": "東京", "postcode": "1", "country": "JP", "more": 1}

    def ask(side: Callable[..., Answer]) -> Answer:
        order = shop.make_order(customer, (product, 1), status=status, shipping_address=entry)
        shop.make_attempt(order, "charge", "open")
        return side("PATCH", f"/api/orders/{order.pk}/address/", customer, elsewhere, {})

    assert assert_twins(sides, ask)[0] == 200


@pytest.mark.parametrize("expected", ["24.99", "25.01", "0.00"])
def test_an_order_at_another_price_than_was_shown(sides: Sides, expected: str) -> None:
    customer, product = shop.make_customer(), shop.make_product("12.50")
    body = {"lines": [{"product": product.pk, "quantity": 2}], "address": shop.HOME, "expected_total": expected}
    status, content, _ = sides.both("POST", "/api/orders/", customer, body)
    assert (status, json.loads(content)["code"]) == (409, "cart_changed")
    assert not Order.objects.exists()


@pytest.mark.parametrize("expected", ["x", "1.234", [], "99999999999.00"])
def test_a_price_that_is_none(sides: Sides, expected: object) -> None:
    customer, product = shop.make_customer(), shop.make_product("12.50")
    body = {"lines": [{"product": product.pk, "quantity": 2}], "address": shop.HOME, "expected_total": expected}
    assert sides.both("POST", "/api/orders/", customer, body)[0] == 400


def test_an_order_at_the_price_that_was_shown(sides: Sides) -> None:
    customer, product = shop.make_customer(), shop.make_product("12.50")
    body = {"lines": [{"product": product.pk, "quantity": 2}], "address": shop.HOME, "expected_total": "25.00"}
    assert sides.legacy("POST", "/api/orders/", customer, body, {})[0] == 201
    assert sides.extracted("POST", "/api/orders/", customer, body, {})[0] == 201


def test_both_publish_the_same_events(sides: Sides, listener: InternalListener) -> None:
    customer = shop.make_customer()
    told = []
    for side in (sides.legacy, sides.extracted):
        OutboxEvent.objects.all().delete()
        product = shop.make_product("0.00")
        body = {"lines": [{"product": product.pk, "quantity": 2}], "address": shop.HOME}
        order = json.loads(side("POST", "/api/orders/", customer, body, {})[1])
        side("POST", f"/api/orders/{order['id']}/cancel/", customer, None, {})
        rows = OutboxEvent.objects.order_by("pk").values("type", "version", "aggregate", "key", "sequence", "payload")
        told.append([_nameless(row, order) for row in rows])
    assert told[0] == told[1]
    assert [row["type"] for row in told[0]] == [f"orders.order.{what}" for what in ("placed", "paid", "cancelled")]


def _nameless(row: dict[str, Any], order: dict[str, Any]) -> dict[str, Any]:
    """Return an event without what no two orders share."""
    assert (row["key"], row["payload"].pop("order"), row["payload"].pop("number")) == (
        str(order["id"]),
        order["id"],
        order["number"],
    )
    return {**row, "key": None}
