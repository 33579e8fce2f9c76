"""Who did which step of which change of hands, and how long nobody could write meanwhile; for people only."""

import os
import socket
from dataclasses import dataclass
from datetime import datetime

from migrations_plan.sync.aggregates import Aggregate
from migrations_plan.sync.handover.rules import Action
from migrations_plan.sync.models import Handover


@dataclass(frozen=True, kw_only=True)
class Held:
    """For how long nobody could write in a bucket that changed hands, over many of them."""

    count: int
    p50_ms: int | None = None
    p99_ms: int | None = None
    longest_ms: int | None = None


def note(
    aggregate: Aggregate, bucket: int, action: Action, side: str, goal: str, held: float | None, detail: str
) -> None:
    """Write down a step that was done."""
    assert action.change is not None
    Handover.objects.using(aggregate.alias).create(
        aggregate=aggregate.group,
        bucket=bucket,
        step=action.do.value,
        line=action.line,
        at_side=side,
        epoch=action.change.new.epoch,
        goal=goal,
        driver=f"{socket.gethostname()}:{os.getpid()}",
        detail=detail[:500],
        held_ms=None if held is None else round(held * 1000),
    )


def held_since(aggregate: Aggregate, since: datetime) -> Held:
    """Return for how long buckets that changed hands since then could not be written."""
    rows = Handover.objects.using(aggregate.alias).filter(
        aggregate=aggregate.group, at__gte=since, step__in=("commit", "reopen"), held_ms__isnull=False
    )
    times = sorted(one for one in rows.values_list("held_ms", flat=True) if one is not None)
    if not times:
        return Held(count=0)
    return Held(
        count=len(times), p50_ms=times[len(times) // 2], p99_ms=times[(len(times) * 99) // 100], longest_ms=times[-1]
    )
