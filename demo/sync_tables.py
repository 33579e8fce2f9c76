"""Read how sync stands with SQL of our own, like the rest of the evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from demo.homes import Connection, Home, moment
from demo.records import percentile


@dataclass(frozen=True, kw_only=True)
class Backfilled:
    """How far the marking of what was there has come."""

    marked: int = 0
    total: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Delays:
    """How long changes took from the shop's database to the service's own: the last change of each order."""

    samples: int = 0
    p50: float = 0.0
    p99: float = 0.0
    slowest: float = 0.0

    def __str__(self) -> str:
        figures = f"p50 {self.p50 * 1000:.0f} ms, p99 {self.p99 * 1000:.0f} ms, slowest {self.slowest * 1000:.0f} ms"
        return f"{figures} of {self.samples} orders"


def backfilled(shop: Connection) -> Backfilled:
    """Return how far the backfill is."""
    for row in shop.execute(
        "SELECT marked, total, started_at, finished_at FROM strangler_sync_backfill WHERE aggregate = 'orders'"
    ):
        started, finished = moment(row["started_at"]), moment(row["finished_at"])
        return Backfilled(marked=row["marked"], total=row["total"], started_at=started, finished_at=finished)
    return Backfilled()


def waiting(shop: Connection) -> int:
    """Return how many orders have changed in the shop and not reached the service."""
    (row,) = shop.execute("SELECT COUNT(*) AS n FROM strangler_sync_mark WHERE aggregate = 'orders' AND gen > acked")
    return int(row["n"])


def waiting_since(shop: Connection, before: datetime) -> int:
    """Return how many orders wait whose last change is older than a moment."""
    marks = shop.execute("SELECT changed_at FROM strangler_sync_mark WHERE aggregate = 'orders' AND gen > acked")
    changes = [moment(row["changed_at"]) for row in marks]
    return sum(1 for at in changes if at is not None and at < before)


def refused(shop: Connection, own: Connection) -> int:
    """Return how many changes were not accepted, and wait for another try."""
    (held,) = shop.execute("SELECT COUNT(*) AS n FROM strangler_sync_mark WHERE gen > acked AND retry_at IS NOT NULL")
    (parked,) = own.execute("SELECT COUNT(*) AS n FROM strangler_sync_parkeddocument")
    return int(held["n"]) + int(parked["n"])


def delays(shop: Home, own: Home, *, since: datetime, until: datetime) -> Delays:
    """Measure the orders that were changed for the last time between two moments."""
    with own.reading() as there:
        rows = there.execute("SELECT key, gen, applied_at FROM strangler_sync_applied WHERE aggregate = 'orders'")
        applied = {(row["key"], row["gen"]): moment(row["applied_at"]) for row in rows}
    with shop.reading() as here:
        rows = here.execute("SELECT key, gen, changed_at FROM strangler_sync_mark WHERE aggregate = 'orders'")
        changed = {(row["key"], row["gen"]): moment(row["changed_at"]) for row in rows}
    return summed_up(
        [
            (arrived - at).total_seconds()
            for version, at in changed.items()
            if at is not None and since <= at <= until and (arrived := applied.get(version)) is not None
        ]
    )


def summed_up(seconds: Sequence[float]) -> Delays:
    """Return the percentiles."""
    ordered = sorted(max(0.0, one) for one in seconds)
    if not ordered:
        return Delays()
    return Delays(
        samples=len(ordered), p50=percentile(ordered, 0.5), p99=percentile(ordered, 0.99), slowest=ordered[-1]
    )


def ownership(connection: Connection) -> dict[str, int]:
    """Return how many buckets of the orders this side owns, has frozen, replicates."""
    rows = connection.execute(
        "SELECT state, COUNT(*) AS count FROM strangler_sync_ownership WHERE aggregate = 'orders' GROUP BY state"
    )
    return {row["state"]: row["count"] for row in rows}


def held(connection: Connection) -> list[int]:
    """Return for how many milliseconds each change of hands kept a bucket from being written, in ascending order."""
    rows = connection.execute(
        "SELECT held_ms FROM strangler_sync_handover WHERE step = 'commit' AND held_ms IS NOT NULL ORDER BY held_ms"
    )
    return [row["held_ms"] for row in rows]
