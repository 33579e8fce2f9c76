"""Expire unpaid orders in bulk, in the raw SQL of a night job that has been there for years.

No signal is sent and no mail written: the rows change underneath everything that listens to the ORM.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from legacy_shop.orders.models import Order

BATCH = 200
"""Orders per transaction: few enough that nobody waits long for their rows."""
UNPAID = """
    o.status = %s AND o.placed_at < %s AND NOT EXISTS (
        SELECT 1 FROM payments_paymentattempt a
        WHERE a.order_id = o.id AND a.kind = 'charge' AND a.state IN ('open', 'succeeded')
    )
"""


@dataclass(frozen=True, kw_only=True)
class ExpiryReport:
    """What was, or would be, expired."""

    orders: int
    pieces: int

    def __add__(self, other: "ExpiryReport") -> "ExpiryReport":
        return ExpiryReport(orders=self.orders + other.orders, pieces=self.pieces + other.pieces)


def expirable(older_than: timedelta) -> ExpiryReport:
    """Return how many orders, with how many pieces, would be expired now."""
    rows = _rows(
        f"""
        SELECT COUNT(DISTINCT o.id), COALESCE(SUM(l.quantity), 0)
        FROM orders_order o LEFT JOIN orders_orderline l ON l.order_id = o.id
        WHERE {UNPAID}
        """,
        [Order.Status.PENDING.value, _moment(timezone.now() - older_than)],
    )
    return ExpiryReport(orders=rows[0][0], pieces=int(rows[0][1]))


def expire_unpaid(
    older_than: timedelta, *, progress: Callable[[ExpiryReport], None] | None = None, batch: int = BATCH
) -> ExpiryReport:
    """Expire pending orders that are older and were never charged, and give their stock back, batch by batch."""
    before = timezone.now() - older_than
    report = ExpiryReport(orders=0, pieces=0)
    for done in _batches(before, batch):
        report += done
        if progress is not None:
            progress(done)
    return report


def _batches(before: datetime, size: int) -> Iterator[ExpiryReport]:
    """Expire batch after batch, each in its own transaction, walking up the ids so that each order is met once."""
    last = 0
    while True:
        with transaction.atomic():
            met = _lock_candidates(before, last, size)
            done = _expire(met, before)
        if not met:
            return
        yield done
        last = met[-1]


def _lock_candidates(before: datetime, last: int, size: int) -> list[int]:
    """Return the next candidates, locked; those that somebody else holds are passed over until the next night."""
    lock = "FOR UPDATE OF o SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""
    rows = _rows(
        f"SELECT o.id FROM orders_order o WHERE o.id > %s AND {UNPAID} ORDER BY o.id LIMIT %s {lock}",
        [last, Order.Status.PENDING.value, _moment(before), size],
    )
    return [row[0] for row in rows]


def _expire(candidates: Sequence[int], before: datetime) -> ExpiryReport:
    """Expire those candidates that are still unpaid now that nobody can change them, and give their stock back.

    The condition is asked a second time on purpose: a charge that was committed between the first statement's snapshot
    and its lock is seen only by a statement that begins after the lock was had.
    """
    if not candidates:
        return ExpiryReport(orders=0, pieces=0)
    expired = [
        row[0]
        for row in _rows(
            f"UPDATE orders_order AS o SET status = %s, closed_at = %s"
            f" WHERE o.id IN ({_marks(candidates)}) AND {UNPAID} RETURNING id",
            [
                Order.Status.EXPIRED.value,
                _moment(timezone.now()),
                *candidates,
                Order.Status.PENDING.value,
                _moment(before),
            ],
        )
    ]
    return ExpiryReport(orders=len(expired), pieces=_give_back(expired))


def _give_back(orders: Sequence[int]) -> int:
    """Put the pieces of expired orders back on the shelf, rows locked in the order of product ids."""
    if not orders:
        return 0
    taken = _rows(
        f"SELECT product_id, SUM(quantity) FROM orders_orderline WHERE order_id IN ({_marks(orders)})"
        " GROUP BY product_id ORDER BY product_id",
        list(orders),
    )
    with closing(connection.cursor()) as cursor:
        cursor.executemany(
            "UPDATE catalog_stock SET on_hand = on_hand + %s WHERE product_id = %s",
            [(int(pieces), product_id) for product_id, pieces in taken],
        )
    return sum(int(pieces) for _, pieces in taken)


def _rows(sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    with closing(connection.cursor()) as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def _marks(values: Sequence[int]) -> str:
    return ", ".join(["%s"] * len(values))


def _moment(at: datetime) -> Any:
    """Return a point in time as the database's driver wants it."""
    return connection.ops.adapt_datetimefield_value(at)
