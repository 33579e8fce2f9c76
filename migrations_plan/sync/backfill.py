"""Mark the keys that were there before capture was, in chunks, so that the relay sends them like any other change.

Live writes only raise ``gen``, and a key that has a mark is left alone: the backfill can never bring back old data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

from django.db import connections, transaction
from django.db.models import F
from django.utils import timezone

from migrations_plan.sync import arrays, database, ownership
from migrations_plan.sync.aggregates import Aggregate, members
from migrations_plan.sync.buckets import BUCKETS
from migrations_plan.sync.capture.triggers import bucket_expression, column_name, key_expression
from migrations_plan.sync.conf import conf
from migrations_plan.sync.documents import form_of
from migrations_plan.sync.errors import NotTheOwner, SyncError
from migrations_plan.sync.messages import State
from migrations_plan.sync.models import Backfill, Mark, Ownership

SMALLEST_CHUNK = 50
KEEP = "DO NOTHING"
ANEW = (
    "DO UPDATE SET gen = m.gen + 1, deleted = false, changed_at = excluded.changed_at, retry_at = NULL, tries = 0, "
    "reason = ''"
)


class _ChangingHands(Exception):
    """Some bucket has no owner at this moment, and would be left out although it may have one again in the end."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What one chunk did."""

    marked: int
    """Keys gone through in all."""
    total: int
    finished: bool
    throttled: str = ""
    """Why nothing was done this time; empty if something was."""
    chunk: int = 0
    """How many keys the next chunk may have."""


def start(aggregate: Aggregate, *, anew: bool = False) -> Backfill:
    """Begin to mark, or go on where it was begun; ``anew`` marks keys that have a mark again, from the first on."""
    rows = Backfill.objects.using(aggregate.alias)
    row, created = rows.get_or_create(
        aggregate=aggregate.name, defaults={"total": form_of(aggregate).roots().count(), "anew": anew}
    )
    if anew and not created:
        forget(aggregate)
        row = rows.create(aggregate=aggregate.name, total=form_of(aggregate).roots().count(), anew=True)
    return row


def forget(aggregate: Aggregate) -> None:
    """Forget how far it has come: what was backfilled cannot be relied on any more."""
    with transaction.atomic(using=aggregate.alias):
        Backfill.objects.using(aggregate.alias).filter(aggregate=aggregate.name).delete()
        Ownership.objects.using(aggregate.alias).filter(aggregate=aggregate.group).update(backfilled=False)


def standing(aggregate: Aggregate) -> Backfill | None:
    """Return how far it has come, None if it was never begun."""
    return Backfill.objects.using(aggregate.alias).filter(aggregate=aggregate.name).first()


def note_sent(aggregate: Aggregate) -> datetime:
    """Write down that what was marked has been sent by now, for the first time; return when that was."""
    rows = Backfill.objects.using(aggregate.alias).filter(aggregate=aggregate.name)
    now = timezone.now()
    rows.filter(sent_at=None, finished_at__isnull=False).update(sent_at=now)
    return rows.values_list("sent_at", flat=True).first() or now


def work(aggregate: Aggregate, chunk: int | None = None) -> Pass:
    """Mark the next chunk of keys, unless the relay is far behind; the place reached is kept with the marks."""
    row = standing(aggregate)
    if row is None:
        raise SyncError(f"No backfill of {aggregate.name} was begun. `sync backfill {aggregate.name}` begins one.")
    settings = conf()
    size = chunk or settings.backfill_chunk
    if row.finished_at is not None:
        return Pass(marked=row.marked, total=row.total, finished=True, chunk=size)
    waiting = _waiting(aggregate, settings.backfill_queue)
    if waiting >= settings.backfill_queue:
        return Pass(
            marked=row.marked,
            total=row.total,
            finished=False,
            throttled=f"{waiting} or more changes wait to be sent",
            chunk=size,
        )
    started = monotonic()
    try:
        row = _mark_chunk(aggregate, row, size)
    except _ChangingHands as waiting_for:
        return Pass(marked=row.marked, total=row.total, finished=False, throttled=str(waiting_for), chunk=size)
    took = monotonic() - started
    return Pass(
        marked=row.marked,
        total=row.total,
        finished=row.finished_at is not None,
        chunk=next_chunk(size, took, settings.backfill_latency_seconds, settings.backfill_chunk),
    )


def next_chunk(size: int, took: float, target: float, most: int) -> int:
    """Halve the chunk where the database was slow with it, grow it by a quarter where it was quick."""
    if took > target:
        return max(min(size, SMALLEST_CHUNK), size // 2)
    return min(most, size + size // 4 + 1)


def run(aggregate: Aggregate, *, progress: Callable[[Pass], None], wait: Callable[[float], None]) -> Pass:
    """Work until everything is marked; ``wait`` is called with seconds while the relay is behind."""
    chunk: int | None = None
    while True:
        done = work(aggregate, chunk)
        progress(done)
        if done.finished:
            return done
        chunk = done.chunk
        if done.throttled:
            wait(0.2)


def _waiting(aggregate: Aggregate, most: int) -> int:
    marks = Mark.objects.using(aggregate.alias).filter(aggregate=aggregate.name, gen__gt=F("acked"))
    return marks[:most].count()


def _mark_chunk(aggregate: Aggregate, row: Backfill, size: int) -> Backfill:
    form = form_of(aggregate)
    with transaction.atomic(using=aggregate.alias):
        arrays.by_index(aggregate.alias)
        owned = _owned(aggregate)
        row = Backfill.objects.using(aggregate.alias).select_for_update().get(pk=row.pk)
        after = form.key_value(row.after) if row.after else None
        keys = form.roots() if after is None else form.roots().filter(pk__gt=after)
        chunk = list(keys.order_by("pk").values_list("pk", flat=True)[:size])
        if not chunk:
            return _finish(aggregate, row)
        _insert(aggregate, after, chunk[-1], owned, anew=row.anew)
        row.after = form.key_text(chunk[-1])
        row.marked += len(chunk)
        row.save(update_fields=("after", "marked"))
    return row


def _owned(aggregate: Aggregate) -> list[int]:
    """Return the buckets that this side owns, under their locks; refuse where it owns none, or while one is frozen."""
    database.lock_shared(aggregate.alias, aggregate.group, range(BUCKETS))
    states = ownership.locked_states(aggregate, range(BUCKETS))
    frozen = [bucket for bucket, state in states.items() if state.state is State.FROZEN]
    if frozen:
        raise _ChangingHands(f"bucket {frozen[0]} is changing hands")
    owned = [bucket for bucket, state in states.items() if state.state is State.OWNER]
    if not owned:
        raise NotTheOwner(f"This side owns no bucket of {aggregate.name}: there is nothing that it could backfill.")
    return owned


def _insert(aggregate: Aggregate, after: Any, until: Any, owned: list[int], *, anew: bool) -> None:
    connection = connections[aggregate.alias]
    quote, vendor, root = connection.ops.quote_name, connection.vendor, aggregate.root
    pk = f"r.{quote(column_name(root, root.key.attname))}"
    bucket = bucket_expression(vendor, aggregate, "r", quote).replace("%", "%%")
    parameters: list[Any] = [aggregate.name, _now(connection), _adapted(root.key, until, connection)]
    conditions = [f"{pk} <= %s"]
    if after is not None:
        conditions.append(f"{pk} > %s")
        parameters.append(_adapted(root.key, after, connection))
    if len(owned) < BUCKETS:
        conditions.append(f"{bucket} IN ({', '.join(str(one) for one in owned)})")
    sql = (
        "INSERT INTO strangler_sync_mark AS m (aggregate, key, bucket, gen, acked, deleted, changed_at, tries, reason) "
        f"SELECT %s, {key_expression(vendor, aggregate.key_kind, pk)}, {bucket}, 1, 0, false, %s, 0, '' "
        f"FROM {quote(root.table)} r WHERE {' AND '.join(conditions)} ORDER BY 2 "
        f"ON CONFLICT (aggregate, key) {ANEW if anew else KEEP}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def _adapted(column: Any, value: Any, connection: Any) -> Any:
    return column.get_db_prep_value(value, connection)


def _now(connection: Any) -> Any:
    return connection.ops.adapt_datetimefield_value(timezone.now())


def _finish(aggregate: Aggregate, row: Backfill) -> Backfill:
    """Note that every key has a mark; what is gone and was not seen to go is marked as well."""
    if row.anew:
        _mark_gone(aggregate)
    row.finished_at = timezone.now()
    row.save(update_fields=("finished_at",))
    others = {one.name for one in members(aggregate.group)} - {aggregate.name}
    done = Backfill.objects.using(aggregate.alias).filter(aggregate__in=others, finished_at__isnull=False).count()
    if done == len(others):  # a bucket changes hands with all of its aggregates
        owned = Ownership.objects.using(aggregate.alias).filter(aggregate=aggregate.group, state=State.OWNER)
        owned.update(backfilled=True)
    return row


def _mark_gone(aggregate: Aggregate) -> None:
    """Raise the version of every key that has a mark and no row: it may have gone while nobody watched."""
    connection = connections[aggregate.alias]
    quote, root = connection.ops.quote_name, aggregate.root
    pk = f"r.{quote(column_name(root, root.key.attname))}"
    key = key_value(connection.vendor, aggregate.key_kind, "strangler_sync_mark.key")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE strangler_sync_mark SET gen = gen + 1, deleted = true, changed_at = %s, retry_at = NULL, "
            "tries = 0, reason = '' WHERE aggregate = %s AND NOT EXISTS "
            f"(SELECT 1 FROM {quote(root.table)} r WHERE {pk} = {key})",
            [_now(connection), aggregate.name],
        )


def key_value(vendor: str, kind: str, text: str) -> str:
    """Return the SQL expression that turns a key's text into what the column holds."""
    if kind == "integer":
        return f"CAST({text} AS {'bigint' if vendor == 'postgresql' else 'integer'})"
    if kind == "uuid":
        return f"CAST({text} AS uuid)" if vendor == "postgresql" else f"replace({text}, '-', '')"
    return text
