"""Who owns which bucket at this side: rows that are read under a lock and changed by compare-and-swap only."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from django.db import connections, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from migrations_plan.sync.aggregates import Aggregate, members
from migrations_plan.sync.buckets import BUCKETS
from migrations_plan.sync.conf import conf
from migrations_plan.sync.database import lock_exclusive, snapshot
from migrations_plan.sync.errors import UnknownBucket
from migrations_plan.sync.intents import open_intents
from migrations_plan.sync.messages import BucketLook, BucketState, State
from migrations_plan.sync.models import Mark, Ownership

START = {"legacy": State.OWNER, "extracted": State.REPLICA}
"""What a side is before anything was moved, in epoch 1."""
LOCK_SECONDS = 0.2
"""How long a change waits for those who write in the bucket. New ones queue up behind it, so it gives way soon."""


def establish(aggregate: Aggregate) -> int:
    """Write down who owns the buckets at the start, where nobody has yet; return how many rows were new."""
    known = set(_rows(aggregate).values_list("bucket", flat=True))
    state = START[conf().side]
    missing = [
        Ownership(aggregate=aggregate.group, bucket=bucket, state=state)
        for bucket in range(BUCKETS)
        if bucket not in known
    ]
    Ownership.objects.using(aggregate.alias).bulk_create(missing, ignore_conflicts=True)
    return len(missing)


def moved(aggregate: Aggregate) -> int:
    """Return to how many buckets this side is not what it was at the start: they have changed hands, or are at it."""
    return _rows(aggregate).exclude(state=START[conf().side]).count()


def owns_all(aggregate: Aggregate) -> bool:
    """Return whether this side is the owner of every bucket."""
    return _rows(aggregate).filter(state=State.OWNER).count() == BUCKETS


def states(aggregate: Aggregate, buckets: Collection[int] | None = None) -> tuple[BucketState, ...]:
    """Return what this side is to each bucket, or to these."""
    wanted = _rows(aggregate) if buckets is None else _rows(aggregate).filter(bucket__in=buckets)
    rows = wanted.order_by("bucket").values_list("bucket", "state", "epoch", "backfilled")
    return tuple(
        BucketState(bucket=bucket, state=State(state), epoch=epoch, backfilled=backfilled)
        for bucket, state, epoch, backfilled in rows
    )


def locked_states(aggregate: Aggregate, buckets: Iterable[int]) -> Mapping[int, BucketState]:
    """Return what this side is to these buckets, as it will stay until the transaction ends.

    The caller holds the buckets' shared locks, taken in statements before this one: a statement sees what was
    committed when it began, which may be before its own wait was over.
    """
    wanted = sorted(set(buckets))
    connection = connections[aggregate.alias]
    columns = "bucket, state, epoch, backfilled"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            sql = f"SELECT {columns} FROM strangler_sync_ownership WHERE aggregate = %s AND bucket = ANY(%s) "
            cursor.execute(f"{sql} ORDER BY bucket FOR SHARE", [aggregate.group, wanted])
        else:
            marks = ", ".join(["%s"] * len(wanted))
            sql = f"SELECT {columns} FROM strangler_sync_ownership WHERE aggregate = %s AND bucket IN ({marks})"
            cursor.execute(sql, [aggregate.group, *wanted])
        found = {
            bucket: BucketState(bucket=bucket, state=State(state), epoch=epoch, backfilled=bool(backfilled))
            for bucket, state, epoch, backfilled in cursor.fetchall()
        }
    missing = [bucket for bucket in wanted if bucket not in found]
    if missing:
        raise UnknownBucket(
            f"Nobody has written down who owns bucket {missing[0]} of {aggregate.group}. "
            f"`sync install {aggregate.name}` does."
        )
    return found


def change(
    aggregate: Aggregate, bucket: int, old: tuple[State, int], new: tuple[State, int], *, settle: bool = False
) -> bool:
    """Swap who this side is to a bucket, if it still is what ``old`` says; return whether it was.

    Waits for everybody who writes in the bucket, under a lock timeout that raises OperationalError with nothing done.
    ``settle`` marks everything as sent in the same transaction: this side has learnt that it is the replica.
    """
    with transaction.atomic(using=aggregate.alias):
        lock_exclusive(aggregate.alias, aggregate.group, bucket, timeout_seconds=LOCK_SECONDS)
        rows = _rows(aggregate).filter(bucket=bucket, state=old[0], epoch=old[1])
        # Who becomes the owner has all that the old one had: that is what the drain was for.
        whole = {"backfilled": True} if (old[0], new[0]) == (State.REPLICA, State.OWNER) else {}
        done = rows.update(state=new[0], epoch=new[1], changed_at=timezone.now(), **whole)
        if done and settle:
            marks = _marks(aggregate, [bucket])
            marks.filter(gen__gt=F("acked")).update(acked=F("gen"), retry_at=None, reason="")
    return bool(done)


def look(aggregate: Aggregate, buckets: Iterable[int]) -> tuple[BucketLook, ...]:
    """Return what this side is to these buckets, with what is marked and what is under way in them.

    State and marks are of one snapshot: where a bucket is frozen and nothing in it is marked, nothing will be.
    """
    wanted = sorted(set(buckets))
    with snapshot(aggregate.alias):
        found = states(aggregate, wanted)
        waiting = Counter(_marks(aggregate, wanted).filter(gen__gt=F("acked")).values_list("bucket", flat=True))
    intents = open_intents(aggregate.group, wanted)
    return tuple(
        BucketLook(
            bucket=one.bucket,
            state=one.state,
            epoch=one.epoch,
            backfilled=one.backfilled,
            waiting=waiting[one.bucket],
            intents=intents.get(one.bucket, 0),
        )
        for one in found
    )


def _marks(aggregate: Aggregate, buckets: Collection[int]) -> QuerySet[Mark]:
    """Return the marks in these buckets of everything that changes hands together."""
    names = {aggregate.name} | {one.name for one in members(aggregate.group)}
    return Mark.objects.using(aggregate.alias).filter(aggregate__in=names, bucket__in=buckets)


def _rows(aggregate: Aggregate) -> QuerySet[Ownership]:
    return Ownership.objects.using(aggregate.alias).filter(aggregate=aggregate.group)
