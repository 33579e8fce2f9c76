"""Count per field what comparisons came to: in memory, and written with the other counts of the process."""

import functools
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from django.db import router as database_router
from django.db import transaction

from router import metrics
from router.metrics import Outcome
from router.models.shadow import ShadowFieldCount
from router.shadow import noise
from router.shadow.redact import redact_text
from router.shadow.runner import Job, Verdict, fields_of

MOST_FIELDS = 200
"""Fields of one route that a process tells apart; names that are data would fill the table."""
OTHERS = "(other fields)"
"""Under which all further ones are counted."""
WHOLE = ""
"""The field under which whole comparisons are counted."""
CHANGED = "(changed)"
"""Comparisons that came to nothing, because what differed did not stay."""
ANY = "(any field)"
"""The times that a side, asked twice, differed from itself anywhere."""
MOST_LENGTH = 300
COUNTED = frozenset({Outcome.MATCH, Outcome.MISMATCH, Outcome.CHANGED, Outcome.ERROR})
"""Outcomes of comparisons that were made."""

Route = tuple[str, str, str]
"""Service, store, route."""


@dataclass
class Counts:
    """Four numbers of a field, or of whole comparisons: those made, those that count against the service, those in
    which a side was asked twice, and those in which the service was wrong at first only."""

    raw: int = 0
    stayed: int = 0
    noise: int = 0
    unsteady: int = 0


@dataclass
class _Tally:
    lock: threading.Lock = field(default_factory=threading.Lock)
    counts: dict[tuple[Route, str], Counts] = field(default_factory=lambda: defaultdict(Counts))
    known: dict[Route, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Names that have a counter of their own, for as long as the process lives."""


_tally = _Tally()


def count(job: Job, verdict: Verdict) -> None:
    """Count one comparison and the fields in which it differed; nobody is asked."""
    if verdict.outcome not in COUNTED:
        return
    stayed = fields_of(verdict.differences)
    if verdict.outcome is Outcome.ERROR:
        stayed = frozenset({f"(error {verdict.cause})"})
    route: Route = (job.service, job.store, job.route)
    tally = _tally
    with tally.lock:
        whole = tally.counts[route, WHOLE]
        whole.raw += 1
        whole.stayed += verdict.outcome in {Outcome.MISMATCH, Outcome.ERROR}
        whole.noise += verdict.noise is not None
        whole.unsteady += bool(verdict.unsteady)
        if verdict.noise:
            tally.counts[route, ANY].noise += 1
        if verdict.outcome is Outcome.CHANGED:
            tally.counts[route, CHANGED].raw += 1
        for name in _names(tally, route, verdict.raw):
            tally.counts[route, name].raw += 1
        for name in _names(tally, route, stayed):
            tally.counts[route, name].stayed += 1
        for name in _names(tally, route, verdict.noise or ()):
            tally.counts[route, name].noise += 1
        for name in _names(tally, route, fields_of(verdict.unsteady)):
            tally.counts[route, name].unsteady += 1


def _names(tally: _Tally, route: Route, fields: Iterable[str]) -> set[str]:
    known = tally.known[route]
    names = set()
    for name in sorted(map(_redacted, fields)):
        if name not in known and len(known) < MOST_FIELDS:
            known.add(name)
        names.add(name if name in known else OTHERS)
    return names


@functools.lru_cache(maxsize=4096)
def _redacted(name: str) -> str:
    """Return a field's name without secrets: where names are data they may be anything."""
    return redact_text(name)[:MOST_LENGTH]


def flush() -> None:
    """Write what was counted; if that fails keep it for the next time, and raise."""
    tally = _tally
    with tally.lock:
        counts, tally.counts = tally.counts, defaultdict(Counts)
    if not counts:
        return
    try:
        _write(counts)
    except BaseException:
        with tally.lock:
            for key, kept in counts.items():
                newer = tally.counts[key]
                newer.raw += kept.raw
                newer.stayed += kept.stayed
                newer.noise += kept.noise
                newer.unsteady += kept.unsteady
        raise


def _write(counts: dict[tuple[Route, str], Counts]) -> None:
    now = datetime.now(UTC)
    rows = [
        ShadowFieldCount(
            at=now,
            process=metrics.process_name(),
            service=service,
            store=store[:40],
            route=route[:200],
            field=name,
            raw=found.raw,
            stayed=found.stayed,
            noise=found.noise,
            unsteady=found.unsteady,
        )
        for ((service, store, route), name), found in counts.items()
    ]
    with transaction.atomic(using=database_router.db_for_write(ShadowFieldCount)):
        ShadowFieldCount.objects.bulk_create(rows)


def reset() -> None:
    """Forget everything counted."""
    global _tally
    _tally = _Tally()
    noise.sampler.reset()


metrics.also_flush("shadow fields", write=flush, forget=reset)
