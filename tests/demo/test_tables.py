"""The demo's own SQL fits the shop's tables as they are."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from demo import tables
from demo.tables import Attempt, Points, payment_states
from tests.demo.conftest import insert, manage

DOCUMENT = """
import json
from legacy_shop.orders.documents import order_document
from legacy_shop.orders.models import Order
print(json.dumps(order_document(Order.objects.get(note="demo-1-1"))))
"""
COUNTED = {"at": "2026-01-02 03:04:05", "process": "p", "cause": "", "histogram": "{}", "store": ""}
KEY = "0123456789abcdef0123456789abcdef"


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


@pytest.fixture(scope="module")
def shop(small_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(shutil.copy(small_shop, tmp_path_factory.mktemp("tables")))
    with closing(sqlite3.connect(path)) as db, db:
        (order_id,) = db.execute("SELECT MIN(id) FROM orders_order").fetchone()
        db.execute("UPDATE orders_order SET note = 'demo-1-1' WHERE id = ?", (order_id,))
        db.execute(
            "INSERT INTO payments_paymentattempt (order_id, kind, state, amount, currency, card, provider_key,"
            " provider_reference, failure, created_at, told_at) VALUES (?, 'charge', 'succeeded', 12.5, 'USD', 'c', ?,"
            " '', '', '2026-01-02 03:04:05', '2026-01-02 03:04:06')",
            (order_id, KEY),
        )
        for points in (12, -12):
            booking = {"user_id": 2, "order_id": order_id, "points": points, "booked_at": "2026-01-02 03:04:05"}
            insert(db, "accounts_loyaltybooking", **booking)
        db.execute("UPDATE accounts_profile SET loyalty_points = 9 WHERE user_id = 3")
        for side, outcome, count in (("extracted", "ok", 3), ("extracted", "replayed", 1), ("legacy", "ok", 2)):
            seam = {"service": "orders", "route": "seam:place", "kind": "write", "side": side, "outcome": outcome}
            insert(db, "router_trafficcount", **COUNTED, **seam, count=count)
        for store, outcome, count in (("own", "match", 5), ("own", "error", 1), ("shared", "match", 7)):
            seen = {"service": "orders", "route": "list", "kind": "read", "side": "shadow", "outcome": outcome}
            insert(db, "router_trafficcount", **{**COUNTED, "store": store}, **seen, count=count)
    return path


@pytest.fixture
def connection(shop: Path) -> Iterator[sqlite3.Connection]:
    with tables.reading(shop) as opened:
        yield opened


def test_people_have_tokens_and_no_staff_is_among_them(connection: sqlite3.Connection) -> None:
    people = tables.people(connection, "customer")
    assert [person.username for person in people] == [f"customer0000{number}" for number in range(1, 6)]
    assert all(len(person.token) == 40 for person in people)
    assert tables.people(connection, "admin") == []


def test_order_reads_as_the_shop_shows_it(shop: Path, connection: sqlite3.Connection) -> None:
    shown: dict[str, Any] = json.loads(manage(shop, "shell", "-c", DOCUMENT).splitlines()[-1])
    ((read,),) = tables.orders_by_reference(connection).values()
    for name in ("placed_at", "paid_at", "closed_at"):
        assert moment(shown.pop(name)) == moment(read.pop(name))
    assert read == shown


def test_attempts_are_in_minor_units(connection: sqlite3.Connection) -> None:
    (attempt,) = tables.attempts(connection)
    assert (attempt.key, attempt.kind, attempt.state, attempt.minor) == (KEY, "charge", "succeeded", 1250)
    assert attempt.told


def test_stock_counts_what_is_on_hand_and_what_is_sold(connection: sqlite3.Connection) -> None:
    counted = tables.stock(connection)
    on_hand = dict(tuple(row) for row in connection.execute("SELECT product_id, on_hand FROM catalog_stock"))
    live = "SELECT SUM(quantity) FROM orders_orderline l JOIN orders_order o ON o.id = l.order_id WHERE status < 90"
    assert sum(counted.values()) - sum(on_hand.values()) == tables.one(connection, live)


def test_fates_are_those_of_the_orders_after_an_id(connection: sqlite3.Connection) -> None:
    every = tables.fates(connection, after=0)
    assert len(every) == 6
    assert all(fate.email.endswith("@example.com") and fate.number.startswith("S") for fate in every)
    assert {fate.paid for fate in every if fate.status in ("completed", "shipped")} == {True}
    assert {fate.paid for fate in every if fate.status in ("cancelled", "expired")} <= {False}
    assert tables.fates(connection, after=every[1].order_id) == every[2:]
    assert tables.fates(connection, after=tables.last_order(connection)) == []


def test_points_are_the_bookings_and_the_profiles_say_their_own(connection: sqlite3.Connection) -> None:
    first = tables.fates(connection, after=0)[0].order_id
    assert tables.points(connection) == [Points(order_id=first, customer_id=2, points=points) for points in (12, -12)]
    assert tables.balances(connection) == {3: 9}


def test_orders_of_the_pages_are_counted_by_side(connection: sqlite3.Connection) -> None:
    assert tables.placed_by_pages(connection) == {"extracted": 4, "legacy": 2}
    assert tables.traffic_counts(connection)[("write", "extracted", "ok")] == 3


def test_comparisons_are_counted_by_store(connection: sqlite3.Connection) -> None:
    assert tables.comparisons(connection, "own") == {"match": 5, "error": 1}
    assert tables.comparisons(connection, "shared") == {"match": 7}


def test_quiet_shop_has_no_claims_and_no_breakers(connection: sqlite3.Connection) -> None:
    assert tables.overdue_claims(connection, datetime.now(UTC)) == []
    assert tables.breaker_moves(connection) == []


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([("charge", "open")], "open"),
        ([("charge", "succeeded")], "paid"),
        ([("charge", "failed")], "failed"),
        ([("charge", "failed"), ("charge", "open")], "open"),
        ([("charge", "failed"), ("charge", "succeeded")], "paid"),
        ([("charge", "succeeded"), ("refund", "open")], "refunding"),
        ([("charge", "succeeded"), ("refund", "failed")], "paid"),
        ([("charge", "succeeded"), ("refund", "failed"), ("refund", "succeeded")], "refunded"),
    ],
)
def test_payment_words(rows: list[tuple[str, str]], word: str) -> None:
    attempts = [
        Attempt(key=str(number), order_id=1, order_number="N", kind=kind, state=state, minor=1)
        for number, (kind, state) in enumerate(rows)
    ]
    assert payment_states(attempts) == {1: word}
