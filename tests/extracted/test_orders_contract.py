"""The service and the monolith answer the order endpoints with the same bytes for the same state."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from legacy_shop.orders.models import Order
from tests.extracted import shop
from tests.extracted.conftest import Service
from tests.extracted.sides import Sides


@pytest.fixture(scope="module")
def history(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """Return two customers, one of staff, and orders in every state; nothing in this module changes any of it."""
    with django_db_blocker.unblock():
        yield make_history()
        shop.clear()


@pytest.fixture(autouse=True)
def unchanged(history: dict[str, Any]) -> Iterator[None]:
    """Fail a test that has changed what the others read."""
    before = shop.fingerprint()
    yield
    assert shop.fingerprint() == before


@pytest.fixture
def sides(history: dict[str, Any], service_process: Service) -> Sides:
    """Return both sides."""
    return Sides(service_process)


def make_history() -> dict[str, Any]:
    """Create the orders that this module asks for."""
    ann, bob = shop.make_customer(), shop.make_customer()
    boss = shop.make_customer(is_staff=True)
    products = [shop.make_product("19.99"), shop.make_product("0.01", name='Ärmel "№5" <b>&</b> \u2028 🎁')]
    orders = [
        shop.make_order(ann, (products[0], 2), (products[1], 3), status=status, minutes=number)
        for number, status in enumerate(Order.Status.names)
    ]
    for order, attempts in zip(orders, shop.ATTEMPTS, strict=True):
        for kind, state in attempts:
            shop.make_attempt(order, kind, state)
    whole_second = datetime(2026, 3, 1, tzinfo=UTC)
    shop.make_order(
        ann, (products[0], 1), placed_at=whole_second, paid_at=whole_second, closed_at=shop.NOON, note="é\n"
    )
    shop.make_order(ann, (products[0], 1), total=Decimal("9999999999.99"), currency="EUR")
    for number in range(15):
        shop.make_order(ann, (products[0], 1), minutes=-number // 2)
    foreign = shop.make_order(bob, (products[1], 1))
    return {"ann": ann, "bob": bob, "boss": boss, "order": orders[0], "foreign": foreign, "products": products}


@pytest.mark.django_db
def test_the_history_has_an_order_in_every_state(history: dict[str, Any]) -> None:
    assert set(Order.objects.values_list("status", flat=True)) == set(Order.Status.values)


READS = (
    "/api/orders/",
    "/api/orders/?page=2",
    "/api/orders/?page=1",
    "/api/orders/?page=3",
    "/api/orders/?page=0",
    "/api/orders/?page=-1",
    "/api/orders/?page=last",
    "/api/orders/?page=",
    "/api/orders/?page=%201",
    "/api/orders/?page=1&page=2",
    "/api/orders/?other=1",
    "/api/orders/{order}/",
    "/api/orders/{foreign}/",
    "/api/orders/0/",
    "/api/orders/123456789012345678901234567890/",
    "/api/staff/orders/",
    "/api/staff/orders/?page=2",
    "/api/staff/orders/?page=9",
    "/api/staff/orders/?status=paid",
    "/api/staff/orders/?status=expired&page=1",
    "/api/staff/orders/?status=",
    "/api/staff/orders/?status=lost",
    "/api/staff/orders/?status=PAID",
    "/api/staff/orders/?status=20",
    "/api/staff/orders/?status=lost&page=99",
    "/api/staff/orders/{foreign}/",
    "/api/staff/orders/0/",
)


@pytest.mark.parametrize("path", READS)
def test_reads(sides: Sides, history: dict[str, Any], path: str) -> None:
    path = path.format(order=history["order"].pk, foreign=history["foreign"].pk)
    for who in ("ann", "bob", "boss", None):
        status, content, _ = sides.both("GET", path, history.get(who) if who else None)
        assert status in {200, 400, 401, 403, 404}, (who, content)


def test_reads_show_every_state(sides: Sides, history: dict[str, Any]) -> None:
    documents = []
    for page in (1, 2):
        documents += json.loads(sides.both("GET", f"/api/orders/?page={page}", history["ann"])[1])["results"]
    assert {document["status"] for document in documents} == {name.lower() for name in Order.Status.names}
    payments = {document["payment"] for document in documents}
    assert payments == {"none", "paid", "open", "failed", "refunding", "refunded"}
    placed = [(document["placed_at"], document["id"]) for document in documents]
    assert placed == sorted(placed, reverse=True)
    assert len(documents) == 23


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST", "GET", "TRACE"])
@pytest.mark.parametrize(
    "path", ["orders/", "orders/{order}/", "orders/{order}/cancel/", "orders/{order}/address/", "staff/orders/"]
)
def test_methods_that_are_not_allowed(sides: Sides, history: dict[str, Any], method: str, path: str) -> None:
    handled = {("POST", "orders/"), ("POST", "orders/{order}/cancel/"), ("PATCH", "orders/{order}/address/")}
    path_of_order = "/api/" + path.format(order=history["order"].pk)
    sides.both(method, path_of_order, None)
    if (method, path) not in handled:
        for who in ("ann", "boss"):
            sides.both(method, path_of_order, history[who])


def test_heads(sides: Sides, history: dict[str, Any]) -> None:
    assert sides.both("HEAD", "/api/orders/", history["ann"])[:2] == (200, b"")


REFUSED_WISHES: tuple[tuple[str, Any], ...] = (
    ("nothing", {}),
    ("no object", []),
    ("text", "text"),
    ("not json", b"{"),
    ("not utf-8", b'"\xff"'),
    ("not a number", b'{"address": NaN}'),
    ("null", None),
    ("no lines", {"address": shop.HOME}),
    ("empty lines", {"lines": [], "address": shop.HOME}),
    ("lines no list", {"lines": {"product": 1}, "address": shop.HOME}),
    ("line no object", {"lines": [1, "x", None], "address": shop.HOME}),
    ("line incomplete", {"lines": [{"product": 1}, {"quantity": 1}], "address": shop.HOME}),
    ("quantities", {"lines": [{"product": 1, "quantity": q} for q in (0, -1, "x", 1000, None)], "address": shop.HOME}),
    ("products", {"lines": [{"product": p, "quantity": 1} for p in (0, -1, "x", 2**63, None)], "address": shop.HOME}),
    ("too many lines", {"lines": [{"product": 1, "quantity": 1}] * 51, "address": shop.HOME}),
    ("unknown products", {"lines": [{"product": p, "quantity": 1} for p in (10**9, 10**9 + 1)], "address": shop.HOME}),
    ("no address", {"lines": [{"product": 1, "quantity": 1}]}),
    *(
        (f"address {address!r}", {"lines": [{"product": 1, "quantity": 1}], "address": address})
        for address in (None, True, "7", 7.0, -1, 0, 2**63, 10**9, {}, [], {**shop.HOME, "country": "CHE"})
    ),
    ("short country", {"cart": True, "address": {**shop.HOME, "country": "C"}}),
    ("blank address", {"cart": True, "address": dict.fromkeys(shop.HOME, " ")}),
    ("long address", {"cart": True, "address": dict.fromkeys(shop.HOME, "x" * 201)}),
    ("address of numbers", {"cart": True, "address": {name: [1] for name in shop.HOME}}),
    ("nul", {"cart": True, "address": {**shop.HOME, "name": "a\0b"}}),
    ("empty cart", {"cart": True, "address": shop.HOME}),
    ("empty cart, unknown address", {"cart": True, "address": 10**9}),
    ("lines and cart", {"cart": True, "lines": [{"product": 1, "quantity": 1}], "address": shop.HOME}),
    ("cart no boolean", {"cart": "maybe", "address": shop.HOME}),
    ("cart null", {"cart": None, "address": shop.HOME}),
    ("long note", {"cart": True, "address": shop.HOME, "note": "x" * 501}),
    ("null note", {"cart": True, "address": shop.HOME, "note": None}),
    ("payment text", {"cart": True, "address": shop.HOME, "payment": "tok_visa"}),
    ("payment empty", {"cart": True, "address": shop.HOME, "payment": {}}),
    ("payment blank", {"cart": True, "address": shop.HOME, "payment": {"card": ""}}),
    ("payment long", {"cart": True, "address": shop.HOME, "payment": {"card": "x" * 65}}),
)


@pytest.mark.parametrize("body", [body for _, body in REFUSED_WISHES], ids=[name for name, _ in REFUSED_WISHES])
def test_orders_that_are_refused(sides: Sides, history: dict[str, Any], body: Any) -> None:
    assert sides.both("POST", "/api/orders/", history["ann"], body)[0] in {400, 415}
    assert sides.both("POST", "/api/orders/", None, body)[0] == 401


REFUSED_ADDRESSES: tuple[Any, ...] = (
    {},
    [],
    "text",
    b"{",
    None,
    {"city": "Bern"},
    {**shop.HOME, "country": "Switzerland"},
)


@pytest.mark.parametrize("body", REFUSED_ADDRESSES, ids=str)
def test_addresses_that_are_refused(sides: Sides, history: dict[str, Any], body: Any) -> None:
    for number in (history["order"].pk, history["foreign"].pk, 0):
        assert sides.both("PATCH", f"/api/orders/{number}/address/", history["ann"], body)[0] in {400, 415}


@pytest.mark.parametrize("status", ["SHIPPED", "COMPLETED", "CANCELLED", "EXPIRED"])
def test_orders_past_changing(sides: Sides, history: dict[str, Any], status: str) -> None:
    order = Order.objects.get(customer=history["ann"], status=Order.Status[status])
    assert sides.both("POST", f"/api/orders/{order.pk}/cancel/", history["ann"])[0] == 409
    assert sides.both("PATCH", f"/api/orders/{order.pk}/address/", history["ann"], shop.HOME)[0] == 409


def test_other_peoples_orders(sides: Sides, history: dict[str, Any]) -> None:
    for who in ("ann", "boss"):
        for number in (history["foreign"].pk, 0, 10**30):
            assert sides.both("POST", f"/api/orders/{number}/cancel/", history[who])[0] == 404
            assert sides.both("PATCH", f"/api/orders/{number}/address/", history[who], shop.HOME)[0] == 404
