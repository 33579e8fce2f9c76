"""Read outbox and inbox with SQL of our own, like the rest of the evidence."""

import sqlite3
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from demo.tables import one

LATE_SECONDS = 3.0
"""An event that arrives this long after it was published is late: the relay comes by every second."""
DELAY = "(julianday(i.received_at) - julianday(o.created_at)) * 86400.0"


@dataclass(frozen=True, kw_only=True)
class EventTally:
    """Where the events of a run stand."""

    published: int = 0
    received: int = 0
    handled: int = 0
    """Handler runs that are done."""
    duplicates: int = 0
    """Arrivals that the inbox dropped because the event had been there."""
    resent: int = 0
    """Times that the relay sent an event again because nobody had acknowledged it."""
    late: int = 0
    slowest: float = 0.0
    """Seconds that the slowest event took from its outbox to its inbox."""
    undelivered: tuple[str, ...] = ()
    unhandled: tuple[str, ...] = ()
    parked: tuple[str, ...] = ()

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way any more; what is parked is not."""
        return not self.undelivered and not self.unhandled


def tally(connection: sqlite3.Connection) -> EventTally:
    """Return where every event stands."""
    return EventTally(
        published=one(connection, "SELECT COUNT(*) FROM strangler_events_outboxevent"),
        received=one(connection, "SELECT COUNT(*) FROM strangler_events_inboxevent"),
        handled=one(connection, "SELECT COUNT(*) FROM strangler_events_handlerrun WHERE state = 'done'"),
        duplicates=one(connection, "SELECT COALESCE(SUM(duplicates), 0) FROM strangler_events_inboxevent"),
        resent=one(
            connection, "SELECT COALESCE(SUM(attempts - 1), 0) FROM strangler_events_delivery WHERE attempts > 1"
        ),
        late=one(connection, f"SELECT COUNT(*) FROM {_both()} WHERE {DELAY} > ?", LATE_SECONDS),
        slowest=one(connection, f"SELECT COALESCE(MAX({DELAY}), 0.0) FROM {_both()}"),
        undelivered=(*_not_sent(connection), *_not_there(connection)),
        unhandled=(*_waiting(connection), *_runs(connection, "pending", "running")),
        parked=(*_parked(connection), *_runs(connection, "parked", "discarded")),
    )


def under_way(connection: sqlite3.Connection) -> set[str]:
    """Return the ids of the events that were handed to the broker and have not been acknowledged."""
    rows = connection.execute(
        "SELECT o.event_id FROM strangler_events_delivery d JOIN strangler_events_outboxevent o ON o.id = d.event_id"
        " WHERE d.attempts > 0 AND d.acked_at IS NULL"
    )
    return {UUID(row[0]).hex for row in rows}


def newest(connection: sqlite3.Connection) -> int:
    """Return the number of the event that was published last."""
    return int(one(connection, "SELECT COALESCE(MAX(id), 0) FROM strangler_events_outboxevent"))


def not_arrived(connection: sqlite3.Connection, *, through: int | None = None) -> int:
    """Return how many published events, up to a number, are in no inbox."""
    return int(
        one(
            connection,
            "SELECT COUNT(*) FROM strangler_events_outboxevent WHERE id <= ? AND event_id NOT IN"
            " (SELECT event_id FROM strangler_events_inboxevent)",
            newest(connection) if through is None else through,
        )
    )


def _both() -> str:
    return "strangler_events_outboxevent o JOIN strangler_events_inboxevent i ON i.event_id = o.event_id"


def _not_sent(connection: sqlite3.Connection) -> list[str]:
    """Name the events that were not acknowledged by everybody who gets them."""
    rows = connection.execute(
        "SELECT o.type, o.key, d.consumer, d.attempts, d.last_error FROM strangler_events_outboxevent o"
        " LEFT JOIN strangler_events_delivery d ON d.event_id = o.id"
        " WHERE o.fanned_out_at IS NULL OR (d.id IS NOT NULL AND d.acked_at IS NULL) ORDER BY o.id"
    )
    return [
        f"{row['type']} of {row['key']} was not delivered to {row['consumer'] or 'anybody'}"
        f" ({row['attempts'] or 0} attempts) {row['last_error'] or ''}".rstrip()
        for row in rows
    ]


def _not_there(connection: sqlite3.Connection) -> list[str]:
    """Name the events that were acknowledged and are in no inbox, or that went to nobody."""
    rows = connection.execute(
        "SELECT o.type, o.key FROM strangler_events_outboxevent o"
        " LEFT JOIN strangler_events_delivery d ON d.event_id = o.id"
        " LEFT JOIN strangler_events_inboxevent i ON i.event_id = o.event_id AND i.consumer = d.consumer"
        " WHERE o.fanned_out_at IS NOT NULL AND i.id IS NULL AND (d.id IS NULL OR d.acked_at IS NOT NULL) ORDER BY o.id"
    )
    return [f"{row['type']} of {row['key']} counts as delivered and is in no inbox" for row in rows]


def _waiting(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT type, key, sequence FROM strangler_events_inboxevent WHERE state = 'waiting' ORDER BY id"
    )
    return [f"{row['type']} of {row['key']} (number {row['sequence']}) waits for an earlier one" for row in rows]


def _parked(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT type, key, reason FROM strangler_events_inboxevent WHERE state = 'parked'")
    return [f"{row['type']} of {row['key']} is parked: {row['reason']}" for row in rows]


def _runs(connection: sqlite3.Connection, *states: str) -> list[str]:
    marks: Any = ", ".join("?" for _ in states)
    rows = connection.execute(
        "SELECT r.handler, r.state, r.attempts, r.reason, i.type, i.key FROM strangler_events_handlerrun r"
        f" JOIN strangler_events_inboxevent i ON i.id = r.event_id WHERE r.state IN ({marks}) ORDER BY r.id",
        states,
    )
    return [
        f"{row['handler']} of {row['type']} {row['key']} is {row['state']} after {row['attempts']} attempts"
        f" {row['reason']}".rstrip()
        for row in rows
    ]
