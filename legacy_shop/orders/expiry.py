"""Expire unpaid orders in bulk, in the raw SQL of a night job that has been there for years.

No event is published and no mail written: the rows change underneath everything that listens. The SQL takes the orders
whose writes stay in the monolith; the others are left to ``nightly``, which asks for each of them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from legacy_shop.orders.exceptions import UnknownOrder
from legacy_shop.orders.models import Order
from router import seam

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


def expire_ours(
    before: datetime, *, progress: Callable[[ExpiryReport], None] | None = None, batch: int = BATCH
) -> ExpiryReport:
    """Expire what is older, was never charged and is written here, and give its stock back, batch by batch."""
    report = ExpiryReport(orders=0, pieces=0)
    for done in _batches(before, batch):
        report += done
        if progress is not None:
            progress(done)
    return report


def expire_one(order_id: int, before: datetime) -> ExpiryReport:
    """Expire one order if it is older and was never charged, in the caller's transaction. Raises UnknownOrder."""
    if not Order.objects.select_for_update().filter(pk=order_id).values_list("pk", flat=True):
        raise UnknownOrder
    return _expire([order_id], before)


def written_elsewhere(before: datetime) -> list[tuple[int, int]]:
    """Return customer and id of the orders to expire that the monolith does not write, by id."""
    ours, parameters = seam.owned_here_sql("orders", "o.customer_id")
    rows = _rows(
        f"SELECT o.customer_id, o.id FROM orders_order o WHERE {UNPAID} AND NOT ({ours}) ORDER BY o.id",
        [Order.Status.PENDING.value, _moment(before), *parameters],
    )
    return [(row[0], row[1]) for row in rows]


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
    ours, parameters = seam.owned_here_sql("orders", "o.customer_id")
    rows = _rows(
        f"SELECT o.id FROM orders_order o WHERE o.id > %s AND {UNPAID} AND {ours} ORDER BY o.id LIMIT %s {lock}",
        [last, Order.Status.PENDING.value, _moment(before), *parameters, size],
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
