"""Count requests in memory, in under two microseconds each, and write the counts in the background."""

import atexit
import enum
import logging
import math
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from django.db import DatabaseError, transaction
from django.db import router as database_router

from router import poller
from router.models.traffic import BreakerEvent, TrafficCount

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
MAX_EVENTS = 1_000
"""Breaker events kept while they can not be written; the oldest go first."""
SLOTS = 112
"""Slots of a latency histogram; each begins 19 % (the fourth root of two) above the one before, from 1 microsecond."""
_PER_OCTAVE = 4.0


class Outcome(enum.StrEnum):
    """What became of a request, or of a comparison."""

    OK = "ok"
    CLIENT_ERROR = "client_error"
    SERVER_ERROR = "server_error"
    FALLBACK_NOT_SENT = "fallback_not_sent"
    """Legacy answered, since the service was certainly not asked."""
    FALLBACK_FAILED = "fallback_failed"
    """Legacy answered a read that the service failed to answer."""
    FALLBACK_CLAIMED = "fallback_claimed"
    """Legacy answered a write, after its idempotency key was taken from the service."""
    REPLAYED = "replayed"
    """The stored answer of the same request was given again."""
    UNAVAILABLE = "unavailable"
    """Nobody could answer; the client was told to come back."""
    HELD = "held"
    """A write waited until somebody owned its data."""
    REDISPATCHED = "redispatched"
    """A write that a fence refused was sent to the owner."""
    REFUSED = "refused"
    """A write found no owner in time; its cause says why."""
    MATCH = "match"
    MISMATCH = "mismatch"
    CHANGED = "changed"
    """The answers differed because the data was changing."""
    ERROR = "error"
    """The side under comparison failed."""
    DROPPED = "dropped"
    """A comparison that was not made; its cause says why."""
    SWITCHED = "switched"
    """Shadowing was switched off or on by itself; no comparison of its own. The cause says which, and why."""


FALLBACKS = frozenset({Outcome.FALLBACK_NOT_SENT, Outcome.FALLBACK_FAILED, Outcome.FALLBACK_CLAIMED})

OWNERSHIP = "ownership"
"""The kind of counts that are no requests of their own, but what ownership did to requests."""

Key = tuple[str, str, str, str, str, str, str]
"""Service, route, kind, side, outcome, cause, store."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """A breaker's change of state, waiting to be written."""

    at: datetime
    service: str
    upstream: str
    previous: str
    state: str
    reason: str


class _Counters:
    """What this process counted since the last flush."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.flushing = threading.Lock()
        self.slots: dict[Key, list[int]] = {}
        self.events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self.flushed_at = 0.0
        self.process = f"{socket.gethostname()[:60]}:{os.getpid()}"


_counters = _Counters()
_log2 = math.log2


def record(
    *, service: str, route: str, kind: str, side: str, outcome: str, seconds: float, cause: str = "", store: str = ""
) -> None:
    """Count one request; neither the database nor another process is asked."""
    slot = int(_log2(seconds * 1e6) * _PER_OCTAVE) if seconds > 1e-6 else 0
    key = (service, route, kind, side, outcome, cause, store)
    counters = _counters
    with counters.lock:
        slots = counters.slots.get(key)
        if slots is None:
            slots = counters.slots[key] = [0] * SLOTS
        slots[slot if slot < SLOTS else SLOTS - 1] += 1


def record_event(*, service: str, upstream: str, previous: str, state: str, reason: str) -> None:
    """Keep a breaker's change of state until the next flush."""
    _counters.events.append(
        Event(
            at=datetime.now(UTC),
            service=service,
            upstream=upstream,
            previous=previous,
            state=state,
            reason=reason[:300],
        )
    )


def process_name() -> str:
    """Return the name under which this process writes."""
    return _counters.process


def pending() -> int:
    """Return how many requests were counted and not written yet."""
    with _counters.lock:
        return sum(sum(slots) for slots in _counters.slots.values())


def flush() -> None:
    """Write what was counted; if that fails keep it for the next time, and raise."""
    counters = _counters
    with counters.flushing:
        with counters.lock:
            slots, counters.slots = counters.slots, {}
            events, counters.events = counters.events, deque(maxlen=MAX_EVENTS)
            counters.flushed_at = monotonic()
        try:
            _write(counters.process, slots, events)
        except BaseException:
            _put_back(counters, slots, events)
            raise
        for write, _ in tuple(_others.values()):
            write()


_others: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {}


def also_flush(name: str, *, write: Callable[[], None], forget: Callable[[], None]) -> None:
    """Have other counts written, and forgotten, whenever these are; a later registration of the name replaces it."""
    _others[name] = write, forget


def flush_if_due() -> None:
    """Flush unless that was done a moment ago; called once per poll."""
    if (_counters.slots or _counters.events) and monotonic() - _counters.flushed_at >= FLUSH_SECONDS:
        flush()


def install() -> None:
    """Flush in the background, and flush what is left when the process ends."""
    poller.every_poll("metrics", flush_if_due)
    atexit.unregister(_flush_at_exit)
    atexit.register(_flush_at_exit)


def reset() -> None:
    """Forget everything counted; for tests, and for a forked child, whose parent writes these counts."""
    global _counters
    _counters = _Counters()
    for _, forget in tuple(_others.values()):
        forget()


def seconds_of(slot: float) -> float:
    """Return the latency at a position of the histogram."""
    return float(2.0 ** (slot / _PER_OCTAVE)) * 1e-6


def quantile(histogram: dict[int, int], share: float) -> float | None:
    """Return the latency in seconds below which ``share`` of the requests lie; None for no requests."""
    total = sum(histogram.values())
    if not total:
        return None
    wanted = share * total
    seen = 0
    for slot in sorted(histogram):
        count = histogram[slot]
        if seen + count >= wanted:
            return seconds_of(slot + (wanted - seen) / count)
        seen += count
    raise AssertionError("a share is at most 1")


def _write(process: str, slots: dict[Key, list[int]], events: deque[Event]) -> None:
    if not slots and not events:
        return
    now = datetime.now(UTC)
    rows = []
    for (service, route, kind, side, outcome, cause, store), counts in slots.items():
        histogram = {str(slot): count for slot, count in enumerate(counts) if count}
        rows.append(
            TrafficCount(
                at=now,
                process=process,
                service=service,
                route=route[:200],
                kind=str(kind),
                side=side,
                outcome=str(outcome),
                cause=cause[:60],
                store=store[:40],
                count=sum(counts),
                histogram=histogram,
            )
        )
    with transaction.atomic(using=database_router.db_for_write(TrafficCount)):
        TrafficCount.objects.bulk_create(rows)
        BreakerEvent.objects.bulk_create(
            [
                BreakerEvent(
                    at=event.at,
                    process=process,
                    service=event.service,
                    upstream=event.upstream,
                    previous=event.previous,
                    state=event.state,
                    reason=event.reason,
                )
                for event in events
            ]
        )


def _put_back(counters: _Counters, slots: dict[Key, list[int]], events: deque[Event]) -> None:
    with counters.lock:
        for key, counts in slots.items():
            newer = counters.slots.get(key)
            counters.slots[key] = counts if newer is None else [a + b for a, b in zip(counts, newer, strict=True)]
        counters.events.extendleft(reversed(events))


def _flush_at_exit() -> None:
    try:
        flush()
    except DatabaseError as error:
        logger.warning("The last traffic counts of this process are lost: %s", error)


os.register_at_fork(after_in_child=reset)
