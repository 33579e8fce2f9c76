"""The demo's own SQL fits the shop's tables as they are."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from demo import tables
from demo.site import ROOT
from demo.tables import Attempt, payment_states

DOCUMENT = """
import json
from legacy_shop.orders.documents import order_document
from legacy_shop.orders.models import Order
print(json.dumps(order_document(Order.objects.get(note="demo-1-1"))))
"""
KEY = "0123456789abcdef0123456789abcdef"


def manage(path: Path, *arguments: str) -> str:
    environment = {
        **os.environ,
        "SHOP_DATABASE_URL": f"sqlite:///{path}",
        "DJANGO_SETTINGS_MODULE": "legacy_shop.settings",
    }
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "shop.sqlite3"
    manage(path, "migrate", "--verbosity", "0")
    manage(path, "seed_shop", "--products", "4", "--customers", "5", "--orders", "6", "--verbosity", "0")
    with closing(sqlite3.connect(path)) as db, db:
        (order_id,) = db.execute("SELECT MIN(id) FROM orders_order").fetchone()
        db.execute("UPDATE orders_order SET note = 'demo-1-1' WHERE id = ?", (order_id,))
        db.execute(
            "INSERT INTO payments_paymentattempt (order_id, kind, state, amount, currency, card, provider_key,"
            " provider_reference, failure, created_at) VALUES (?, 'charge', 'succeeded', 12.5, 'USD', 'c', ?, '', '',"
            " '2026-01-02 03:04:05')",
            (order_id, KEY),
        )
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


def test_stock_counts_what_is_on_hand_and_what_is_sold(connection: sqlite3.Connection) -> None:
    counted = tables.stock(connection)
    on_hand = dict(tuple(row) for row in connection.execute("SELECT product_id, on_hand FROM catalog_stock"))
    live = "SELECT SUM(quantity) FROM orders_orderline l JOIN orders_order o ON o.id = l.order_id WHERE status < 90"
    assert sum(counted.values()) - sum(on_hand.values()) == tables.one(connection, live)


def test_quiet_shop_has_no_claims_counts_or_breakers(connection: sqlite3.Connection) -> None:
    assert tables.overdue_claims(connection, datetime.now(UTC)) == []
    assert tables.traffic_counts(connection) == {}
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
