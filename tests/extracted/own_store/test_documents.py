"""Both sides spell the same orders with the same bytes, and nothing is lost on the way there and back."""

import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extracted.orders.api.documents import order_document
from extracted.orders.domain.order import AttemptKind, AttemptState, Status
from extracted.orders.own_store import models as own
from extracted.orders.own_store.names import join_name, split_name
from extracted.orders.own_store.store import OwnOrderStore
from legacy_shop.accounts.models import Address
from legacy_shop.orders.documents import fresh_document
from legacy_shop.orders.models import Order, OrderLine
from legacy_shop.payments.models import PaymentAttempt
from migrations_plan.sync.checks import check_aggregates
from migrations_plan.sync.documents import Form, canonical
from migrations_plan.sync.errors import Unloadable
from tests.examples import examples
from tests.extracted import shop
from tests.own.rows import LEGACY, OWN, carry, dump, make_orders, put

pytestmark = pytest.mark.django_db(databases=["default", "own"])

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
"""What both databases can hold."""
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
LINES = st.fixed_dictionaries(
    {
        "sku": TEXT.map(lambda text: text[:40]),
        "name": TEXT.map(lambda text: text[:200]),
        "quantity": st.integers(1, 2**31 - 1),
        "unit_price": st.decimals(0, 99_999_999, places=2),
        "amount": st.decimals(0, 9_999_999_999, places=2),
    }
)
ATTEMPTS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(PaymentAttempt.Kind.values),
        "state": st.just("failed"),
        "amount": st.decimals(Decimal("0.01"), Decimal("9999999999.99"), places=2),
        "currency": st.sampled_from(["USD", "EUR"]),
        "card": TEXT.map(lambda text: text[:64]),
        "provider_key": st.uuids(),
        "provider_reference": TEXT.map(lambda text: text[:64]),
        "failure": TEXT.map(lambda text: text[:200]),
        "created_at": MOMENTS,
        "settled_at": st.none() | MOMENTS,
        "told_at": st.none() | MOMENTS,
    }
)
ORDERS = st.fixed_dictionaries(
    {
        "status": st.sampled_from(Order.Status.values),
        "ship_name": (TEXT | st.lists(TEXT, max_size=3).map(" ".join)).map(lambda text: text[:120]),
        "ship_street": TEXT.map(lambda text: text[:200]),
        "ship_city": TEXT.map(lambda text: text[:100]),
        "ship_postcode": TEXT.map(lambda text: text[:20]),
        "ship_country": st.sampled_from(["CH", "US"]),
        "currency": st.sampled_from(["USD", "EUR"]),
        "total": st.decimals(-9_999_999_999, Decimal("9999999999.99"), places=2),
        "note": TEXT.map(lambda text: text[:500]),
        "placed_at": MOMENTS,
        "paid_at": st.none() | MOMENTS,
        "closed_at": st.none() | MOMENTS,
    }
)
KEY = 4711


@pytest.fixture
def people(db: None) -> dict[str, Any]:
    customer = shop.make_customer()
    return {"customer": customer, "product": shop.make_product(), "address": shop.make_address(customer)}


def make(people: dict[str, Any], order: Any, lines: Any, attempts: Any, address: Address | None) -> Order:
    """Create an order of just these columns; live attempts are as many as there may be."""
    row = Order.objects.create(pk=KEY, number="N1", customer=people["customer"], shipping_address=address, **order)
    OrderLine.objects.bulk_create(OrderLine(order=row, product=people["product"], **line) for line in lines)
    PaymentAttempt.objects.bulk_create(PaymentAttempt(order=row, **attempt) for attempt in attempts)
    return row


def forget() -> None:
    """Remove the order from both sides."""
    for model in (PaymentAttempt, OrderLine, Order, own.Order):
        model._base_manager.all().delete()


@given(
    order=ORDERS,
    lines=st.lists(LINES, max_size=3),
    attempts=st.lists(ATTEMPTS, max_size=3, unique_by=lambda attempt: attempt["provider_key"]),
    state=st.sampled_from(PaymentAttempt.State.values),
    from_book=st.booleans(),
)
@examples(20)
def test_there_and_back_is_the_identity(
    people: dict[str, Any], order: Any, lines: Any, attempts: Any, state: str, from_book: bool
) -> None:
    forget()
    for attempt in attempts[:1]:
        attempt["state"] = state
    make(people, order, lines, attempts, people["address"] if from_book else None)
    legacy = dump(LEGACY, [KEY])
    put(OWN, KEY, legacy[KEY])
    extracted = dump(OWN, [KEY])
    assert canonical(extracted[KEY]) == canonical(legacy[KEY])
    kept = OwnOrderStore().get(people["customer"].pk, KEY)
    assert json.dumps(order_document(kept)) == json.dumps(fresh_document(KEY))

    before = rows_of_the_shop()
    for model in (PaymentAttempt, OrderLine, Order):
        model._base_manager.all().delete()
    put(LEGACY, KEY, extracted[KEY])
    assert rows_of_the_shop() == before


def rows_of_the_shop() -> list[Any]:
    """Return every column of an order at the shop."""
    return [list(model.objects.order_by("pk").values_list()) for model in (Order, OrderLine, PaymentAttempt)]


@given(TEXT | st.lists(st.sampled_from(["", "Ann", "Lee", "de la", "Åse"])).map(" ".join))
def test_a_name_is_split_without_loss(name: str) -> None:
    given_name, family_name = split_name(name)
    assert join_name(given_name, family_name) == name
    assert max(len(given_name or ""), len(family_name)) <= len(name)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("Ann Lee", ("Ann", "Lee")),
        ("Ann Mary Lee", ("Ann Mary", "Lee")),
        ("Ann", (None, "Ann")),
        (" Ann", ("", "Ann")),
        ("Ann ", ("Ann", "")),
        ("", (None, "")),
        ("Ann\u00a0Lee", (None, "Ann\u00a0Lee")),
    ],
)
def test_names_and_their_parts(name: str, parts: tuple[str | None, str]) -> None:
    assert split_name(name) == parts


def test_the_document(people: dict[str, Any]) -> None:
    order = shop.make_order(people["customer"], (people["product"], 2), shipping_address=people["address"])
    attempt = shop.make_attempt(order, "charge", "failed", failure="declined")
    line = order.lines.get()
    assert dump(LEGACY, [order.pk])[order.pk] == {
        "number": order.number,
        "customer": people["customer"].pk,
        "status": "pending",
        "recipient": "Ann Lee",
        "street": "Löwenstraße 1",
        "city": "Zürich",
        "postcode": "8001",
        "country": "CH",
        "address_entry": people["address"].pk,
        "currency": "USD",
        "total": 2500,
        "note": "",
        "placed_at": "2026-01-02T12:00:00.123456Z",
        "paid_at": None,
        "closed_at": None,
        "lines": [
            {
                "id": line.pk,
                "product": people["product"].pk,
                "sku": people["product"].sku,
                "name": people["product"].name,
                "quantity": 2,
                "unit_price": 1250,
                "amount": 2500,
            }
        ],
        "attempts": [
            {
                "id": attempt.pk,
                "kind": "charge",
                "state": "failed",
                "amount": 2500,
                "currency": "USD",
                "card": "tok_visa",
                "provider_key": str(attempt.provider_key),
                "provider_reference": "",
                "failure": "declined",
                "created_at": "2026-01-02T12:00:00.123456Z",
                "settled_at": None,
                "told_at": None,
            }
        ],
    }


def test_many_orders_at_once(people: dict[str, Any]) -> None:
    keys = [order.pk for order in make_orders(people["customer"], 12)]
    carry(keys)
    assert dump(OWN, keys) == dump(LEGACY, keys)
    assert Form(OWN).read_range(keys[2], keys[5]) == Form(LEGACY).read_range(keys[2], keys[5])


def test_every_column_is_spoken_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrations_plan.sync.checks.declared", lambda: (LEGACY, OWN))
    assert check_aggregates(None) == []


def test_both_sides_know_the_same_words() -> None:
    assert {status.label for status in Order.Status} == {status.value for status in Status} == set(own.STATES)
    assert set(PaymentAttempt.Kind.values) == {kind.value for kind in AttemptKind}
    assert set(PaymentAttempt.State.values) == {state.value for state in AttemptState} > set(own.LIVE)


@pytest.mark.parametrize(
    ("where", "field", "value"),
    [
        (None, "status", "lost"),
        (None, "status", 10),
        (None, "total", "12.50"),
        (None, "total", 12.5),
        (None, "recipient", None),
        (None, "placed_at", "2026-01-02 12:00"),
        ("attempts", "kind", "gift"),
        ("attempts", "state", "perhaps"),
        ("attempts", "provider_key", "7"),
        ("lines", "amount", True),
    ],
)
def test_what_the_service_cannot_keep(people: dict[str, Any], where: str | None, field: str, value: Any) -> None:
    order = shop.make_order(people["customer"], (people["product"], 2))
    shop.make_attempt(order)
    data = dump(LEGACY, [order.pk])[order.pk]
    place = data if where is None else data[where][0]
    place[field] = value
    with pytest.raises(Unloadable):
        put(OWN, order.pk, data)


def test_a_key_of_the_provider_is_there_once(people: dict[str, Any]) -> None:
    key = uuid.uuid4()
    order = shop.make_order(people["customer"], (people["product"], 1))
    shop.make_attempt(order, provider_key=key)
    carry([order.pk])
    assert own.Attempt.objects.get().provider_key == key
