"""Which side is to own each bucket, written down where every coordinator reads it before each step."""

from collections.abc import Collection, Iterable, Mapping

from django.db.models import QuerySet
from django.utils import timezone

from migrations_plan.sync.aggregates import Aggregate
from migrations_plan.sync.models import Goal


def set_goals(aggregate: Aggregate, buckets: Iterable[int], side: str, actor: str = "") -> None:
    """Say who is to own these buckets from now on."""
    now = timezone.now()
    rows = [
        Goal(aggregate=aggregate.group, bucket=bucket, side=side, actor=actor, set_at=now)
        for bucket in sorted(set(buckets))
    ]
    _rows(aggregate).bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=("aggregate", "bucket"),
        update_fields=("side", "actor", "set_at", "reached_at"),
    )


def goal_of(aggregate: Aggregate, bucket: int) -> str | None:
    """Return who is to own a bucket, None where nobody ever said."""
    return _of(aggregate).filter(bucket=bucket).values_list("side", flat=True).first()


def goals(aggregate: Aggregate, buckets: Collection[int] | None = None) -> Mapping[int, str]:
    """Return who is to own which bucket, where somebody said."""
    rows = _of(aggregate) if buckets is None else _of(aggregate).filter(bucket__in=buckets)
    return dict(rows.values_list("bucket", "side"))


def note_reached(aggregate: Aggregate, bucket: int, side: str) -> None:
    """Write down that a bucket is where it is to be, unless it is to be elsewhere by now."""
    _of(aggregate).filter(bucket=bucket, side=side, reached_at=None).update(reached_at=timezone.now())


def settle(aggregate: Aggregate, buckets: Iterable[int], side: str, actor: str = "") -> None:
    """Write down that buckets are where they are to be, whatever somebody had intended for them."""
    reached = _of(aggregate).filter(side=side, reached_at__isnull=False)
    new = sorted(set(buckets) - set(reached.values_list("bucket", flat=True)))
    if new:
        set_goals(aggregate, new, side, actor)
        _of(aggregate).filter(bucket__in=new, side=side).update(reached_at=timezone.now())


def unreached(aggregate: Aggregate) -> tuple[int, ...]:
    """Return the buckets that are not where they are to be, as far as it was written down."""
    return tuple(_of(aggregate).filter(reached_at=None).order_by("bucket").values_list("bucket", flat=True))


def on_their_way(alias: str, groups: Collection[str]) -> Mapping[str, frozenset[int]]:
    """Return the buckets that are to be elsewhere than they are, by aggregate."""
    found: dict[str, set[int]] = {}
    rows = Goal.objects.using(alias).order_by().filter(aggregate__in=groups, reached_at=None)
    for group, bucket in rows.values_list("aggregate", "bucket"):
        found.setdefault(group, set()).add(bucket)
    return {group: frozenset(buckets) for group, buckets in found.items()}


def _rows(aggregate: Aggregate) -> QuerySet[Goal]:
    return Goal.objects.using(aggregate.alias)


def _of(aggregate: Aggregate) -> QuerySet[Goal]:
    return _rows(aggregate).filter(aggregate=aggregate.group)
