"""What has changed here and not reached the other side: read in one snapshot, acknowledged as far as it was sent."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import connections, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from migrations_plan.sync import ownership
from migrations_plan.sync.aggregates import Aggregate
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
    WITH free AS (
        SELECT m.id, s.gen FROM strangler_sync_mark m JOIN unnest(%s::text[], %s::bigint[]) s(key, gen) ON s.key = m.key
        WHERE m.aggregate = %s FOR UPDATE OF m SKIP LOCKED
    )
    UPDATE strangler_sync_mark m SET acked = LEAST(m.gen, GREATEST(m.acked, free.gen)), retry_at = NULL,
        tries = CASE WHEN m.gen <= free.gen THEN 0 ELSE m.tries END,
        reason = CASE WHEN m.gen <= free.gen THEN '' ELSE m.reason END
    FROM free WHERE m.id = free.id
"""
ACKNOWLEDGE_SQLITE = """
    UPDATE strangler_sync_mark SET acked = MIN(gen, MAX(acked, %s)), retry_at = NULL,
        tries = CASE WHEN gen <= %s THEN 0 ELSE tries END, reason = CASE WHEN gen <= %s THEN '' ELSE reason END
    WHERE aggregate = %s AND key = %s
"""
SENDING = frozenset({State.OWNER, State.FROZEN})
"""What a side has to be to a bucket for its changes to be sent; a replica's are not the truth."""


def read(aggregate: Aggregate, limit: int) -> Changes:
    """Return marked aggregates that are due, with their documents; state, version and rows are of one moment.

    One that cannot be made into a document is left out, and held back with the reason.
    """
    form = form_of(aggregate)
    with snapshot(aggregate.alias):
        marked = Mark.objects.using(aggregate.alias).filter(aggregate=aggregate.name, gen__gt=F("acked"))
        waiting = marked[:COUNT_TO].count()
        if not waiting:
            return Changes(documents=(), waiting=0)  # the usual case, many times a second
        epochs = {one.bucket: one.epoch for one in ownership.states(aggregate) if one.state in SENDING}
        marks = _due(marked, sorted(epochs), limit)
        found, unreadable = _documents(form, [form.key_value(mark.key) for mark in marks])
    documents = tuple(
        Document(
            key=mark.key,
            bucket=mark.bucket,
            epoch=epochs[mark.bucket],
            gen=mark.gen,
            version=aggregate.version,
            data=found.get(form.key_value(mark.key)),
            changed_at=moment(mark.changed_at),
        )
        for mark in marks
        if form.key_value(mark.key) not in unreadable
    )
    if unreadable:
        _note_held(
            aggregate,
            [
                Held(key=mark.key, gen=mark.gen, seconds=HOLD_SECONDS, reason=unreadable[form.key_value(mark.key)])
                for mark in marks
                if form.key_value(mark.key) in unreadable
            ],
        )
    return Changes(documents=documents, waiting=waiting)


def _due(marked: QuerySet[Mark], buckets: list[int], limit: int) -> list[Mark]:
    """Return what is to be sent: mostly what was marked first, and some of the latest, which a backfill lies before."""
    due = marked.filter(Q(retry_at=None) | Q(retry_at__lte=timezone.now()), bucket__in=buckets)
    latest = limit // 4
    first = list(due.order_by("id")[: limit - latest])
    if len(first) < limit - latest or not latest:
        return first
    last = due.filter(id__gt=first[-1].pk).order_by("-id")[:latest]
    return [*first, *last]


def _documents(form: Form, keys: list[Any]) -> tuple[dict[Any, Data], dict[Any, str]]:
    """Return the data by key, and the reasons of those that cannot be made into a document."""
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
            keys, gens = zip(*pairs, strict=True)
            cursor.execute(ACKNOWLEDGE_POSTGRESQL, [list(keys), list(gens), aggregate.name])
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
