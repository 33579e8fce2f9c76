"""Numbers of events: an aggregate's count from 1, at whichever of its homes they happen."""

import uuid
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F

from migrations_plan.sync.buckets import bucket
from migrations_plan.sync.events.conf import SETTING, conf
from migrations_plan.sync.events.errors import NoOwner
from migrations_plan.sync.events.models import AggregateSequence, TravellingSequence


@dataclass(frozen=True, kw_only=True)
class Number:
    """The place of an event among those of its aggregate."""

    sequence: int
    before: dict[str, int] | None = None
    """By type, the number of the latest event before it, wherever that was published; None where nothing is kept."""


def next_number(event_type: str, aggregate: str, key: str, owner: Any, using: str) -> Number:
    """Count up, holding the row until the transaction ends: numbers are those of the commits, and none is left out.

    Of an aggregate that changes hands, the count goes along: it is synced, and fenced like what it belongs to.
    """
    group = conf().travels.get(aggregate)
    if group is None:
        return Number(sequence=_count(aggregate, key, using))
    if owner is None:
        raise NoOwner(
            f"{event_type} was published without its owner. {SETTING}['TRAVELS'] has {aggregate!r}, whose numbers "
            f"change hands with {group}: say publish(..., owner=<the partition key>)."
        )
    return _count_along(event_type, aggregate, key, bucket(group, owner), using)


def _count(aggregate: str, key: str, using: str) -> int:
    rows = AggregateSequence.objects.using(using).filter(aggregate=aggregate, key=key)
    while True:
        if rows.update(last=F("last") + 1):
            return rows.values_list("last", flat=True).get()
        try:
            with transaction.atomic(using=using):
                rows.create(aggregate=aggregate, key=key, last=1)
        except IntegrityError:
            continue  # somebody else began the aggregate, and has committed by now
        return 1


def _count_along(event_type: str, aggregate: str, key: str, in_bucket: int, using: str) -> Number:
    rows = TravellingSequence.objects.using(using).filter(aggregate=aggregate, key=key)
    while True:
        row = rows.select_for_update().first()
        if row is not None:
            number = Number(sequence=row.last + 1, before=dict(row.types))
            types = {**row.types, event_type: number.sequence}
            if rows.filter(last=row.last).update(last=number.sequence, types=types):
                return number
            continue
        number = Number(sequence=_counted_before(aggregate, key, using) + 1, before={})
        try:
            with transaction.atomic(using=using):
                rows.create(
                    id=uuid.uuid4(),
                    aggregate=aggregate,
                    key=key,
                    bucket=in_bucket,
                    last=number.sequence,
                    types={event_type: number.sequence},
                )
        except IntegrityError:
            continue
        return number


def _counted_before(aggregate: str, key: str, using: str) -> int:
    """Return how far the aggregate was counted before its numbers began to travel."""
    counted = AggregateSequence.objects.using(using).filter(aggregate=aggregate, key=key)
    return counted.values_list("last", flat=True).first() or 0
