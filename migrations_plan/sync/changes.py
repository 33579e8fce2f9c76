"""What has changed here and not reached the other side: read in one snapshot, acknowledged as far as it was sent."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from migrations_plan.sync import arrays, ownership
from migrations_plan.sync.aggregates import Aggregate
from migrations_plan.sync.buckets import BUCKETS
from migrations_plan.sync.database import snapshot
from migrations_plan.sync.documents import Data, Form, form_of
from migrations_plan.sync.errors import Unloadable
from migrations_plan.sync.fields import moment
from migrations_plan.sync.messages import Changes, Document, Held, Sent, State
from migrations_plan.sync.models import Mark

COUNT_TO = 100_000
"""Nobody needs to know more exactly how many more than this are waiting."""
HOLD_SECONDS = 2.0
LONGEST_HOLD_SECONDS = 300.0
CONVERSION_TROUBLE = (Unloadable, ArithmeticError, ValueError, TypeError, LookupError)
"""What a conversion, of sync's or of a project's, raises about a value that it does not know."""
ACKNOWLEDGE_POSTGRESQL = """
    WITH free AS MATERIALIZED (
        SELECT m.id FROM unnest(%s::text[]) n(key) CROSS JOIN LATERAL (
            SELECT id FROM strangler_sync_mark WHERE aggregate = %s AND key = n.key FOR UPDATE SKIP LOCKED
        ) m
    )
    UPDATE strangler_sync_mark m SET acked = LEAST(m.gen, GREATEST(m.acked, (s.gens ->> m.key)::bigint)),
        retry_at = NULL,
        tries = CASE WHEN m.gen <= (s.gens ->> m.key)::bigint THEN 0 ELSE m.tries END,
        reason = CASE WHEN m.gen <= (s.gens ->> m.key)::bigint THEN '' ELSE m.reason END
    FROM (SELECT %s::jsonb AS gens) s WHERE m.id = ANY(ARRAY(SELECT id FROM free))
"""
ACKNOWLEDGE_SQLITE = """
    UPDATE strangler_sync_mark SET acked = MIN(gen, MAX(acked, %s)), retry_at = NULL,
        tries = CASE WHEN gen <= %s THEN 0 ELSE tries END, reason = CASE WHEN gen <= %s THEN '' ELSE reason END
    WHERE aggregate = %s AND key = %s
"""
SENDING = frozenset({State.OWNER, State.FROZEN})
"""What a side has to be to a bucket for its changes to be sent; a replica's are not the truth."""


class _Marked(NamedTuple):
    """What is needed of a mark to send what it stands for; a model's instance costs ten times as much to make."""

    pk: int
    key: str
    bucket: int
    gen: int
    changed_at: datetime


def read(aggregate: Aggregate, limit: int, buckets: Collection[int] = ()) -> Changes:
    """Return marked aggregates that are due, with their documents; state, version and rows are of one moment.

    Of the given buckets only, if any are given; then also those that wait for another try. One that cannot be made into
    a document is left out, and held back with the reason.
    """
    with snapshot(aggregate.alias):
        arrays.by_index(aggregate.alias)
        marked = _marked(aggregate)
        waiting = marked[:COUNT_TO].count()
        if not waiting:
            return Changes(documents=(), waiting=0)  # the usual case, many times a second
        epochs = {bucket: epoch for bucket, epoch in _epochs(aggregate).items() if not buckets or bucket in buckets}
        if buckets:
            marks = _taken(marked.filter(bucket__in=sorted(epochs)).order_by("id")[:limit])
        else:
            marks = _due(marked, epochs, limit)
        found, unreadable = _documents(form_of(aggregate), marks)
    return Changes(documents=_made(aggregate, epochs, marks, found, unreadable), waiting=waiting)


def read_ahead(aggregate: Aggregate, limit: int, sent: frozenset[tuple[str, int]]) -> Changes:
    """Return what is due besides the versions that are on their way now, as `read` would; nothing is counted."""
    with snapshot(aggregate.alias):
        arrays.by_index(aggregate.alias)
        epochs = _epochs(aggregate)
        marks = _due(_marked(aggregate), epochs, limit, sent)
        found, unreadable = _documents(form_of(aggregate), marks)
    return Changes(documents=_made(aggregate, epochs, marks, found, unreadable), waiting=len(marks))


def _marked(aggregate: Aggregate) -> QuerySet[Mark]:
    return Mark.objects.using(aggregate.alias).filter(aggregate=aggregate.name, gen__gt=F("acked"))


def _epochs(aggregate: Aggregate) -> dict[int, int]:
    """Return the epochs of the buckets whose changes are to be sent."""
    return {one.bucket: one.epoch for one in ownership.states(aggregate) if one.state in SENDING}


def _made(
    aggregate: Aggregate,
    epochs: Mapping[int, int],
    marks: Sequence[_Marked],
    found: Mapping[Any, Data],
    unreadable: Mapping[Any, str],
) -> tuple[Document, ...]:
    """Return the documents; hold back those that cannot be made."""
    key_value = form_of(aggregate).key_value
    fine = [(mark, key) for mark in marks if (key := key_value(mark.key)) not in unreadable]
    if unreadable:
        stuck = [(mark, reason) for mark in marks if (reason := unreadable.get(key_value(mark.key))) is not None]
        _note_held(
            aggregate, [Held(key=mark.key, gen=mark.gen, seconds=HOLD_SECONDS, reason=why) for mark, why in stuck]
        )
    return tuple(
        Document(
            key=mark.key,
            bucket=mark.bucket,
            epoch=epochs[mark.bucket],
            gen=mark.gen,
            version=aggregate.version,
            data=found.get(key),
            changed_at=moment(mark.changed_at),
        )
        for mark, key in fine
    )


def _due(
    marked: QuerySet[Mark], epochs: Collection[int], limit: int, sent: frozenset[tuple[str, int]] = frozenset()
) -> list[_Marked]:
    """Return what is to be sent: mostly what was marked first, and some of the latest, which a backfill lies before.

    What is on its way is among the first and the latest, so as many more are looked at.
    """
    due = marked.filter(Q(retry_at=None) | Q(retry_at__lte=timezone.now()))
    if len(epochs) < BUCKETS:  # naming all of them would only mislead the planner
        due = due.filter(bucket__in=sorted(epochs))
    latest = limit // 4
    first = _taken(due.order_by("id")[: limit - latest + len(sent)], sent)[: limit - latest]
    if len(first) < limit - latest or not latest:
        return first
    last = due.filter(id__gt=first[-1].pk).order_by("-id")[: latest + len(sent)]
    return [*first, *_taken(last, sent)[:latest]]


def _taken(marks: QuerySet[Mark], sent: frozenset[tuple[str, int]] = frozenset()) -> list[_Marked]:
    found = [_Marked(*row) for row in marks.values_list(*_Marked._fields)]
    return [mark for mark in found if (mark.key, mark.gen) not in sent] if sent else found


def _documents(form: Form, marks: Sequence[_Marked]) -> tuple[dict[Any, Data], dict[Any, str]]:
    """Return the data by key, and the reasons of those that cannot be made into a document."""
    keys = [form.key_value(mark.key) for mark in marks]
    try:
        return form.read(keys), {}
    except CONVERSION_TROUBLE:
        found: dict[Any, Data] = {}
        reasons: dict[Any, str] = {}
        for key in keys:
            try:
                found.update(form.read([key]))
            except CONVERSION_TROUBLE as error:
                reasons[key] = f"It cannot be made into a document: {error}"
        return found, reasons


def acknowledge(aggregate: Aggregate, sent: Iterable[Sent], held: Iterable[Held]) -> None:
    """Note what the other side has now, never more than was sent; let what it could not take wait its time.

    Versions here may have risen since they were sent, so what stays marked is what has changed in between.
    """
    with transaction.atomic(using=aggregate.alias):
        arrays.by_index(aggregate.alias)
        _note_sent(aggregate, sent)
        _note_held(aggregate, held)


def _note_sent(aggregate: Aggregate, sent: Iterable[Sent]) -> None:
    """Raise what is acknowledged. A mark that somebody holds is left for the next time: nobody waits for anybody.

    Writers hold marks in the order of their statements, so waiting for them here could end in a deadlock with one.
    """
    connection = connections[aggregate.alias]
    pairs = sorted((one.key, one.gen) for one in sent)
    if not pairs:
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            gens = dict(pairs)
            cursor.execute(ACKNOWLEDGE_POSTGRESQL, [arrays.quoted(gens), aggregate.name, json.dumps(gens)])
        else:
            cursor.executemany(ACKNOWLEDGE_SQLITE, [(gen, gen, gen, aggregate.name, key) for key, gen in pairs])


def _note_held(aggregate: Aggregate, held: Iterable[Held]) -> None:
    now = timezone.now()
    marks = Mark.objects.using(aggregate.alias).filter(aggregate=aggregate.name)
    for one in held:
        for mark in marks.filter(key=one.key, gen=one.gen):
            seconds = min(one.seconds * 2.0 ** min(mark.tries, 20), LONGEST_HOLD_SECONDS)
            marks.filter(pk=mark.pk, gen=one.gen).update(
                retry_at=now + timedelta(seconds=seconds), tries=F("tries") + 1, reason=one.reason[:500]
            )


def hurry(aggregate: Aggregate, keys: Iterable[str] | None = None) -> int:
    """Let what waits for another try be sent at once; return how many."""
    waiting = Mark.objects.using(aggregate.alias).filter(aggregate=aggregate.name, retry_at__isnull=False)
    if keys is not None:
        waiting = waiting.filter(key__in=list(keys))
    return waiting.update(retry_at=None)
