"""The demo's own SQL over outbox and inbox: each event is seen where it stands."""

import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from demo import event_tables, tables
from demo.event_tables import EventTally
from tests.demo.conftest import insert

PUBLISHED, SOON, LATE = "2026-01-02 03:04:05.000000", "2026-01-02 03:04:05.900000", "2026-01-02 03:04:12.500000"


class Events:
    """Writes rows as the two sides do."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.count = 0

    def publish(self, *, sent: bool = True, attempts: int = 1, acked: bool = True) -> str:
        """Publish an event; return its id."""
        self.count += 1
        event_id = uuid.uuid4().hex
        row = insert(
            self.db,
            "strangler_events_outboxevent",
            event_id=event_id,
            type="orders.order.placed",
            version=1,
            aggregate="orders.order",
            key=str(self.count),
            sequence=1,
            payload="{}",
            occurred_at=PUBLISHED,
            created_at=PUBLISHED,
            fanned_out_at=PUBLISHED if sent else None,
        )
        if sent:
            delivery = {"event_id": row, "consumer": "shop", "after": 0, "attempts": attempts, "next_at": PUBLISHED}
            acked_at = PUBLISHED if acked else None
            insert(self.db, "strangler_events_delivery", **delivery, acked_at=acked_at, last_error="")
        return event_id

    def receive(self, event_id: str, *, at: str = SOON, state: str = "released", **more: Any) -> int:
        """Take the event into the inbox; return the row's id."""
        numbers = {"version": 1, "sequence": 1, "after": 0, "duplicates": 0}
        names = {"consumer": "shop", "stream": "default", "type": "orders.order.placed", "aggregate": "orders.order"}
        times = {"occurred_at": PUBLISHED, "received_at": at}
        row = {**numbers, **names, **times, "key": "1", "payload": "{}", "reason": "", "state": state, **more}
        return insert(self.db, "strangler_events_inboxevent", event_id=event_id, **row)

    def handle(self, inbox_id: int, state: str) -> None:
        """Note how far a handler is with an event."""
        names = {"consumer": "shop", "handler": "orders.mail", "aggregate": "orders.order", "key": "1", "reason": ""}
        numbers = {"event_id": inbox_id, "ordered": 1, "sequence": 1, "attempts": 1}
        insert(self.db, "strangler_events_handlerrun", **names, **numbers, state=state, next_at=SOON)


@pytest.fixture
def path(small_shop: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(small_shop, tmp_path))


@pytest.fixture
def events(path: Path) -> Iterator[Events]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        yield Events(db)


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with tables.reading(path) as opened:
        yield opened


def test_no_events(connection: sqlite3.Connection) -> None:
    assert event_tables.tally(connection) == EventTally()
    assert event_tables.tally(connection).at_rest
    assert (event_tables.under_way(connection), event_tables.not_arrived(connection)) == (set(), 0)


def test_handled_events_are_counted(events: Events, connection: sqlite3.Connection) -> None:
    events.handle(events.receive(events.publish(), duplicates=2), "done")
    events.handle(events.receive(events.publish(attempts=3), at=LATE), "done")
    tally = event_tables.tally(connection)
    assert (tally.published, tally.received, tally.handled) == (2, 2, 2)
    assert (tally.duplicates, tally.resent, tally.late) == (2, 2, 1)
    assert tally.slowest == pytest.approx(7.5, abs=0.01)
    assert tally.at_rest
    assert tally.parked == ()


def not_fanned_out(events: Events) -> None:
    events.publish(sent=False)


def not_acknowledged(events: Events) -> None:
    events.receive(events.publish(acked=False))


def acknowledged_and_not_there(events: Events) -> None:
    events.publish()


def for_nobody(events: Events) -> None:
    events.publish()
    events.db.execute("DELETE FROM strangler_events_delivery")


def waiting_for_another(events: Events) -> None:
    events.receive(events.publish(), state="waiting")


def handler_pending(events: Events) -> None:
    events.handle(events.receive(events.publish()), "pending")


def handler_running(events: Events) -> None:
    events.handle(events.receive(events.publish()), "running")


def event_parked(events: Events) -> None:
    events.receive(events.publish(), state="parked", reason="unknown type")


def handler_parked(events: Events) -> None:
    events.handle(events.receive(events.publish()), "parked")


def handler_discarded(events: Events) -> None:
    events.handle(events.receive(events.publish()), "discarded")


@pytest.mark.parametrize(
    ("write", "where", "words"),
    [
        (not_fanned_out, "undelivered", "was not delivered to anybody"),
        (not_acknowledged, "undelivered", "was not delivered to shop"),
        (acknowledged_and_not_there, "undelivered", "is in no inbox"),
        (for_nobody, "undelivered", "is in no inbox"),
        (waiting_for_another, "unhandled", "waits for an earlier one"),
        (handler_pending, "unhandled", "is pending"),
        (handler_running, "unhandled", "is running"),
        (event_parked, "parked", "is parked: unknown type"),
        (handler_parked, "parked", "is parked"),
        (handler_discarded, "parked", "is discarded"),
    ],
)
def test_what_is_not_over_is_named(
    events: Events, connection: sqlite3.Connection, write: Any, where: str, words: str
) -> None:
    write(events)
    tally = event_tables.tally(connection)
    found = {name: getattr(tally, name) for name in ("undelivered", "unhandled", "parked") if getattr(tally, name)}
    assert list(found) == [where]
    (problem,) = found[where]
    assert words in problem
    assert tally.at_rest is (where == "parked")


def test_events_under_way(events: Events, connection: sqlite3.Connection) -> None:
    sent = events.publish(acked=False)
    newest = event_tables.newest(connection)
    events.publish(sent=False)
    events.publish(attempts=0, acked=False)
    events.publish()
    assert event_tables.under_way(connection) == {sent}
    assert event_tables.not_arrived(connection) == 4
    assert event_tables.not_arrived(connection, through=newest) == 1
