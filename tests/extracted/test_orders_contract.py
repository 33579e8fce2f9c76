"""The service and the monolith answer the order endpoints with the same bytes for the same state."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.authtoken.models import Token

from legacy_shop.orders.models import Order
from legacy_shop.payments.models import PaymentAttempt
from router.identity import ANONYMOUS
from tests.extracted import shop
from tests.extracted.conftest import InternalListener, Service

Answer = tuple[int, bytes, dict[str, str | None]]
HEADERS = ("Content-Type", "WWW-Authenticate", "Allow", "X-Frame-Options", "Idempotency-Replayed", "Retry-After")
NOBODY_LISTENS = "http://127.0.0.1:1"
MINTED = ("id", "number", "placed_at")
"""What two orders never share."""


class Sides:
    """Both sides of the contract, asked in the same words."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.client = Client(raise_request_exception=False)

    def legacy(self, method: str, path: str, who: User | None, body: Any, headers: dict[str, str]) -> Answer:
        """Return what the monolith answers."""
        sent = dict(headers)
        if who is not None:
            sent["Authorization"] = f"Token {Token.objects.get_or_create(user=who)[0].key}"
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body)
        kind = "application/json" if data else "application/octet-stream"
        answer = self.client.generic(method, path, data, content_type=kind, headers=sent)
        return answer.status_code, answer.content, {name: answer.headers.get(name) for name in HEADERS}

    def extracted(self, method: str, path: str, who: User | None, body: Any, headers: dict[str, str]) -> Answer:
        """Return what the service answers."""
        identity = ANONYMOUS if who is None else shop.identity(who)
        answer = self.service.call(method, path, identity, body=body, headers=headers)
        return answer.status_code, answer.content, {name: answer.headers.get(name) for name in HEADERS}

    def both(self, method: str, path: str, who: User | None, body: Any = None, **headers: str) -> Answer:
        """Return the answer that both sides give; fail if they differ."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        legacy = self.legacy(method, path, who, body, sent)
        assert self.extracted(method, path, who, body, sent) == legacy
        return legacy


@pytest.fixture
def sides(service: Service, listener: InternalListener, settings: Any) -> Sides:
    """Return both sides; no payment provider can be reached from either."""
    settings.PAYMENT_PROVIDER_URL = NOBODY_LISTENS
    return Sides(service)


@pytest.fixture
def history(transactional_db: None) -> dict[str, Any]:
    """Return two customers, one of staff, and orders in every state."""
    ann, bob = shop.make_customer(), shop.make_customer()
    boss = shop.make_customer(is_staff=True)
    products = [shop.make_product("19.99"), shop.make_product("0.01", name='Ärmel "№5" <b>&</b> \u2028 🎁')]
    orders = [
        shop.make_order(ann, (products[0], 2), (products[1], 3), status=status, minutes=number)
        for number, status in enumerate(Order.Status.names)
    ]
    for order, attempts in zip(orders, ATTEMPTS, strict=True):
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


ATTEMPTS: tuple[tuple[tuple[str, str], ...], ...] = (
    (),
    (("charge", "succeeded"),),
    (("charge", "failed"), ("charge", "open")),
    (("charge", "failed"), ("charge", "failed")),
    (("charge", "succeeded"), ("refund", "open")),
    (("charge", "succeeded"), ("refund", "failed"), ("refund", "succeeded")),
)

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
def test_orders_that_are_refused(sides: Sides, body: Any) -> None:
    customer = shop.make_customer()
    assert sides.both("POST", "/api/orders/", customer, body)[0] in {400, 415}
    assert sides.both("POST", "/api/orders/", None, body)[0] == 401
    assert not Order.objects.exists()


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
def test_orders_past_changing(sides: Sides, status: str) -> None:
    customer, product = shop.make_customer(), shop.make_product()
    order = shop.make_order(customer, (product, 1), status=status)
    assert sides.both("POST", f"/api/orders/{order.pk}/cancel/", customer)[0] == 409
    assert sides.both("PATCH", f"/api/orders/{order.pk}/address/", customer, shop.HOME)[0] == 409
    assert shop.on_hand(product) == 10


def test_other_peoples_orders(sides: Sides, history: dict[str, Any]) -> None:
    for who in ("ann", "boss"):
        for number in (history["foreign"].pk, 0, 10**30):
            assert sides.both("POST", f"/api/orders/{number}/cancel/", history[who])[0] == 404
            assert sides.both("PATCH", f"/api/orders/{number}/address/", history[who], shop.HOME)[0] == 404


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


@pytest.mark.parametrize("attempts", ATTEMPTS, ids=str)
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
