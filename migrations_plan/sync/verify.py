"""Verification of a whole aggregate, range by range, by as many workers as there are; and what mends what it finds.

A range is taken by compare-and-swap on a date, which its worker moves on while it is alive. What a worker finds is
written together with the end of its range, so a range that was given up for dead leaves nothing behind.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event

from django.db import transaction
from django.db.models import Count, Q, QuerySet, Sum
from django.utils import timezone

from migrations_plan.sync.aggregates import Aggregate
from migrations_plan.sync.comparison import Compared, Wait, compare
from migrations_plan.sync.conf import conf
from migrations_plan.sync.errors import NotTheOwner, SyncError
from migrations_plan.sync.messages import Again, Boundary, Side, State
from migrations_plan.sync.models import Finding, Verification, VerificationRange

POLL_SECONDS = 0.2
"""How often a command looks whether the ranges that others have taken are done."""
CHUNK = 500
SUMMED = ("compared", "corrupt", "unresolved", "pending")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a verification has come, and what it has found until now."""

    aggregate: str
    started_at: datetime
    finished_at: datetime | None
    ranges: int
    ranges_done: int
    compared: int
    corrupt: int
    unresolved: int
    pending: int

    @property
    def clean(self) -> bool:
        """Return whether everything was compared and found equal."""
        return self.finished_at is not None and not (self.corrupt or self.unresolved or self.pending)


class Lost(SyncError):
    """Another worker has taken the range, since this one was silent for too long."""


def pause(seconds: float) -> None:
    """Let the relay work for some time."""
    Event().wait(seconds)


# --- a run ----------------------------------------------------------------------------------------------------
def begin(aggregate: Aggregate, here: Side, there: Side, *, size: int | None = None) -> Verification:
    """Begin to compare both sides; one that was begun and not finished is given up."""
    size = size or conf().verify_range
    # Cut where there is more to compare: a side that has lost most of its rows must not make one huge range.
    boundaries = max((side.boundaries(aggregate.name, size) for side in (here, there)), key=len)
    with transaction.atomic(using=aggregate.alias):
        _unfinished(aggregate).update(abandoned_at=timezone.now())
        verification = _all(aggregate).create(aggregate=aggregate.name)
        VerificationRange.objects.using(aggregate.alias).bulk_create(
            [
                VerificationRange(verification=verification, number=number, after=one.after, until=one.until)
                for number, one in enumerate(boundaries)
            ],
            batch_size=1_000,
        )
    return verification


def unfinished(aggregate: Aggregate) -> Verification | None:
    """Return the verification that is under way, None if none is."""
    return _unfinished(aggregate).first()


def latest(aggregate: Aggregate) -> Verification | None:
    """Return the last verification that was finished, None if there was none."""
    return _all(aggregate).filter(finished_at__isnull=False).first()


def progress_of(verification: Verification) -> Progress:
    """Return how far a verification has come."""
    done = Count("id", filter=Q(finished_at__isnull=False))
    sums = {name: Sum(name, default=0) for name in SUMMED}
    found = _ranges(verification).aggregate(ranges=Count("id"), ranges_done=done, **sums)
    return Progress(
        aggregate=verification.aggregate,
        started_at=verification.started_at,
        finished_at=verification.finished_at,
        **found,
    )


def doubtful_buckets(verification: Verification) -> frozenset[int]:
    """Return the buckets that a verification does not speak for: with a finding, or something it could not tell.

    For all others it is evidence from when it was started, once it is finished.
    """
    unknown = _ranges(verification).exclude(doubtful={}).values_list("doubtful", flat=True)
    found = Finding.objects.using(_alias(verification)).filter(verification=verification)
    return frozenset({int(bucket) for one in unknown for bucket in one} | set(found.values_list("bucket", flat=True)))


def run(
    aggregate: Aggregate,
    here: Side,
    there: Side,
    *,
    anew: bool = False,
    progress: Callable[[Progress], None] = lambda progress: None,
    wait: Wait = pause,
) -> Verification:
    """Compare both sides from end to end, or go on where it was left; others may work at it at the same time."""
    verification = None if anew else unfinished(aggregate)
    if verification is None:
        verification = begin(aggregate, here, there)
    while verification.finished_at is None and verification.abandoned_at is None:
        worked = _work(verification, aggregate, here, there, wait)
        verification.refresh_from_db(using=aggregate.alias)
        progress(progress_of(verification))
        if not worked and verification.finished_at is None:
            wait(POLL_SECONDS)
    if verification.abandoned_at is not None:
        raise SyncError(f"Another verification of {aggregate.name} was begun in place of this one.")
    return verification


def work_next(aggregate: Aggregate, here: Side, there: Side, *, wait: Wait = pause) -> bool:
    """Compare one range of the verification that is under way; return whether there was one to compare."""
    verification = unfinished(aggregate)
    return verification is not None and _work(verification, aggregate, here, there, wait)


def _work(verification: Verification, aggregate: Aggregate, here: Side, there: Side, wait: Wait) -> bool:
    taken = take_range(verification)
    if taken is not None:
        work_range(taken, aggregate, here, there, wait=wait)
    finish(verification)
    return taken is not None


# --- a range --------------------------------------------------------------------------------------------------
def take_range(verification: Verification) -> VerificationRange | None:
    """Take a range that nobody works at, or whose worker has not been heard of; None if there is none."""
    while True:
        now = timezone.now()
        free = _open(verification).filter(Q(taken_until=None) | Q(taken_until__lt=now))
        found = free.order_by("number").first()
        if found is None or _swap(found, now + _lease()):
            return found


def work_range(taken: VerificationRange, aggregate: Aggregate, here: Side, there: Side, *, wait: Wait = pause) -> None:
    """Compare a range that was taken, and write down what came out; nothing if it was taken over meanwhile."""

    def alive(seconds: float) -> None:
        if not _swap(taken, timezone.now() + _lease()):
            raise Lost
        wait(seconds)

    boundary = Boundary(after=taken.after, until=taken.until)
    try:
        found = compare(aggregate.name, boundary, here, there, wait=alive)
    except Lost:
        return
    except BaseException:
        _swap(taken, None)
        raise
    finish_range(taken, found)


def finish_range(taken: VerificationRange, found: Compared) -> bool:
    """Write down what came out for a range, unless somebody else has taken it; return whether it was written."""
    alias, doubtful = _alias(taken), {**found.unresolved}
    for bucket, count in found.pending.items():
        doubtful[bucket] = doubtful.get(bucket, 0) + count
    with transaction.atomic(using=alias):
        done = _mine(taken).update(
            finished_at=timezone.now(),
            compared=found.compared,
            corrupt=len(found.differences),
            unresolved=sum(found.unresolved.values()),
            pending=sum(found.pending.values()),
            doubtful=doubtful,
        )
        if done:
            _write_findings(taken, found)
    return bool(done)


def finish(verification: Verification) -> bool:
    """Add up a verification whose ranges are all done; return whether it is finished now and was not before."""
    if _open(verification).exists():
        return False
    sums = _ranges(verification).aggregate(**{name: Sum(name, default=0) for name in SUMMED})
    rows = Verification.objects.using(_alias(verification)).filter(pk=verification.pk, finished_at=None)
    return bool(rows.update(finished_at=timezone.now(), **sums))


def _write_findings(taken: VerificationRange, found: Compared) -> None:
    # An aggregate can be found twice: where a range is open, or when its key has changed.
    Finding.objects.using(_alias(taken)).bulk_create(
        [
            Finding(
                verification_id=taken.verification_id,
                key=one.key,
                bucket=one.bucket,
                kind=one.kind.value,
                owner_gen=one.owner_gen,
                replica_gen=one.replica_gen,
                detail=one.detail[:500],
            )
            for one in found.differences
        ],
        ignore_conflicts=True,
    )


def _swap(taken: VerificationRange, until: datetime | None) -> bool:
    """Hold a range until another date, if it still is as this worker knows it."""
    if not _mine(taken).update(taken_until=until):
        return False
    taken.taken_until = until
    return True


def _mine(taken: VerificationRange) -> "QuerySet[VerificationRange]":
    rows = VerificationRange.objects.using(_alias(taken))
    return rows.filter(pk=taken.pk, finished_at=None, taken_until=taken.taken_until)


def _lease() -> timedelta:
    return timedelta(seconds=conf().lease_seconds)


# --- repair ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Repair:
    """What is to be done about a finding: its owner marks it again, and the relay sends it."""

    key: str
    bucket: int
    kind: str
    gen: int
    """The highest version that either side has; the new one is above it."""
    side: str
    """The owner's name."""

    def __str__(self) -> str:
        return f"{self.key} ({self.kind}): {self.side} sends it again, above version {self.gen}"


def planned_repairs(aggregate: Aggregate, findings: Iterable[Finding], here: Side, there: Side) -> tuple[Repair, ...]:
    """Return what would be done about findings; nothing is done. Raise NotTheOwner for a bucket that nobody owns."""
    owners = _owners(aggregate, here, there)
    return tuple(_planned(aggregate, finding, owners.get(finding.bucket)) for finding in findings)


def _planned(aggregate: Aggregate, finding: Finding, owner: Side | None) -> Repair:
    if owner is None:
        raise NotTheOwner(f"Bucket {finding.bucket} of {aggregate.name} has no owner that could send {finding.key}.")
    return Repair(
        key=finding.key,
        bucket=finding.bucket,
        kind=finding.kind,
        gen=max(finding.owner_gen or 0, finding.replica_gen or 0),
        side=owner.name,
    )


def repair(aggregate: Aggregate, findings: Sequence[Finding], here: Side, there: Side) -> int:
    """Have the owners mark again what findings are about, extra rows at a replica too; return how many."""
    repairs, done = planned_repairs(aggregate, findings, here, there), 0
    for side in (here, there):
        mine = [pair for pair in zip(repairs, findings, strict=True) if pair[0].side == side.name]
        for start in range(0, len(mine), CHUNK):
            chunk = mine[start : start + CHUNK]
            again = tuple(Again(key=one.key, gen=one.gen, bucket=one.bucket) for one, _ in chunk)
            done += side.repair(aggregate.name, again)
            rows = Finding.objects.using(aggregate.alias).filter(pk__in=[finding.pk for _, finding in chunk])
            rows.update(repaired_at=timezone.now())
    return done


def unrepaired(verification: Verification) -> "QuerySet[Finding]":
    """Return the findings of a verification that nothing was done about yet."""
    return Finding.objects.using(_alias(verification)).filter(verification=verification, repaired_at=None)


def _owners(aggregate: Aggregate, here: Side, there: Side) -> dict[int, Side]:
    """Return who sends what is in a bucket: its owner, or the side that was until its ownership began to change."""
    owners: dict[int, Side] = {}
    for wanted in (State.FROZEN, State.OWNER):
        for side in (here, there):
            owners |= {one.bucket: side for one in side.ownership(aggregate.name) if one.state is wanted}
    return owners


# --- rows -----------------------------------------------------------------------------------------------------
def _all(aggregate: Aggregate) -> "QuerySet[Verification]":
    return Verification.objects.using(aggregate.alias).filter(aggregate=aggregate.name)


def _unfinished(aggregate: Aggregate) -> "QuerySet[Verification]":
    return _all(aggregate).filter(finished_at=None, abandoned_at=None)


def _ranges(verification: Verification) -> "QuerySet[VerificationRange]":
    return VerificationRange.objects.using(_alias(verification)).filter(verification=verification)


def _open(verification: Verification) -> "QuerySet[VerificationRange]":
    return _ranges(verification).filter(finished_at=None)


def _alias(row: Verification | VerificationRange) -> str:
    return row._state.db or "default"
