"""What happened to each request of the demo's customers, kept in memory and summed up."""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

NO_SIDE = "none"
"""The side of a request that got no answer, or an answer of a page that is no route of a service."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One request as the customer saw it, with its retries."""

    at: float
    """time.monotonic() when the answer was there."""
    act: str
    action: str
    method: str
    side: str
    reason: str
    status: int
    seconds: float
    tries: int
    bucket: int | None = None
    """Where the customer's orders belong; None for visitors and staff."""
    failure: str = ""
    """Why the customer had no right answer in time; empty if it had one."""
    stale: bool = False
    """Whether the answer said of itself that it may be behind."""
    put_off: bool = False
    """Whether a client that cannot ask again was told to come back, while the owner of its data was dead."""


@dataclass(frozen=True, kw_only=True)
class SideTimes:
    """How fast one side answered."""

    side: str
    requests: int
    p50: float
    p99: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of the sorted values lie."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass
class Log:
    """All records of a run; safe to use from many threads."""

    act: str = "start"
    records: list[Record] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    """Read-backs that did not show what had been acknowledged."""
    owner_is_dead: bool = False
    """Whether whoever owns the orders is dead, so that nobody may write them."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, record: Record) -> None:
        """Keep one record."""
        with self._lock:
            self.records.append(record)

    def differ(self, what: str) -> None:
        """Keep one read-back that was not as acknowledged."""
        with self._lock:
            self.differences.append(f"[{self.act}] {what}")

    @contextmanager
    def owner_dead(self) -> Iterator[None]:
        """Know, for the length of the block, that nobody can write the orders."""
        self.owner_is_dead = True
        try:
            yield
        finally:
            self.owner_is_dead = False

    def since(self, index: int) -> list[Record]:
        """Return the records from ``index`` on."""
        with self._lock:
            return self.records[index:]

    def forget(self, limit: int) -> None:
        """Keep no more than the newest half once there are more than ``limit`` records."""
        with self._lock:
            if len(self.records) > limit:
                del self.records[: -limit // 2]

    def __len__(self) -> int:
        return len(self.records)

    def failures(self) -> list[str]:
        """Describe each request that had no right answer in time."""
        return [
            f"[{record.act}] {record.action}: {record.failure} ({record.tries} tries, {record.seconds:.1f} s)"
            for record in self.since(0)
            if record.failure
        ]


def by_side(records: Iterable[Record]) -> list[SideTimes]:
    """Return requests and times per side; only requests that a service could have answered have one."""
    times: dict[str, list[float]] = {}
    for record in records:
        times.setdefault(record.side, []).append(record.seconds)
    result = []
    for side, values in sorted(times.items()):
        values.sort()
        result.append(
            SideTimes(side=side, requests=len(values), p50=percentile(values, 0.50), p99=percentile(values, 0.99))
        )
    return result


def reasons(records: Iterable[Record]) -> Counter[str]:
    """Count the reasons that the router gave for its decisions."""
    return Counter(record.reason for record in records if record.reason)


def now() -> float:
    """Return the clock that records are stamped with."""
    return time.monotonic()
