"""How long changes take to the other side: a histogram per minute, from which percentiles are read."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from django.db import transaction
from django.db.models import F, Sum
from django.utils import timezone

from migrations_plan.sync.models import Lag

BINS_PER_DOUBLING = 12
"""So a percentile is known to within 6 %."""
KEEP = timedelta(days=2)
WRITE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Percentiles:
    """Lag over some minutes, in seconds; None from no samples."""

    samples: int = 0
    p50: float | None = None
    p99: float | None = None


class Recorder:
    """The lags of one direction, written down together every second: each time is a commit."""

    def __init__(self, alias: str, aggregate: str, direction: str) -> None:
        self._row = (alias, aggregate, direction)
        self._pending: list[float] = []
        self._written = monotonic()

    def add(self, seconds: Iterable[float]) -> None:
        """Keep lags, and write down what there is if it is time."""
        self._pending += seconds
        if monotonic() - self._written >= WRITE_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write down what there is."""
        if self._pending:
            record(*self._row, self._pending)
        self._pending, self._written = [], monotonic()


@contextmanager
def recording(alias: str, aggregate: str, direction: str) -> Iterator[Recorder]:
    """Write down the lags of a direction, the last of them at the end of the block, however it is left."""
    recorder = Recorder(alias, aggregate, direction)
    try:
        yield recorder
    finally:
        recorder.flush()


def record(alias: str, aggregate: str, direction: str, seconds: Iterable[float]) -> None:
    """Add lags to the histogram of the present minute."""
    minute = timezone.now().replace(second=0, microsecond=0)
    with transaction.atomic(using=alias):  # one commit, however many bins
        for number, count in sorted(Counter(_bin(one) for one in seconds).items()):
            row = {"aggregate": aggregate, "direction": direction, "minute": minute, "bin": number}
            rows = Lag.objects.using(alias)
            if not rows.filter(**row).update(count=F("count") + count):
                rows.bulk_create([Lag(**row, count=0)], ignore_conflicts=True)
                rows.filter(**row).update(count=F("count") + count)


def percentiles(alias: str, aggregate: str, direction: str, since: datetime) -> Percentiles:
    """Return the lag of what arrived since a moment, by whole minutes."""
    rows = Lag.objects.using(alias).filter(aggregate=aggregate, direction=direction)
    found = rows.filter(minute__gte=since.replace(second=0, microsecond=0))
    counts = dict(found.values_list("bin").annotate(total=Sum("count")).order_by("bin"))
    total = sum(counts.values())
    return Percentiles(samples=total, p50=_at(counts, total, 0.5), p99=_at(counts, total, 0.99))


def purge(alias: str) -> int:
    """Forget histograms that nobody asks for any more; return how many rows."""
    return Lag.objects.using(alias).filter(minute__lt=timezone.now() - KEEP).delete()[0]


def _bin(seconds: float) -> int:
    return math.floor(math.log2(max(seconds, 0.0005)) * BINS_PER_DOUBLING)


def _at(counts: dict[int, int], total: int, share: float) -> float | None:
    if not total:
        return None
    passed = 0
    for number in sorted(counts):
        passed += counts[number]
        if passed >= share * total:
            break
    return float(2.0 ** ((number + 1) / BINS_PER_DOUBLING))
