"""What this side holds, as sums and digests to compare, and the marks that make its owner send something again.

A digest is made from the rows, found by their keys and not by marks, and is of one snapshot together with the versions
and with who this side is to each bucket. So that a side in another language gives the same answers:

- The aggregates of a range are those with a key above ``after`` and up to and including ``until``. Keys that are whole
  numbers are ordered as numbers, UUIDs byte by byte, texts by code point.
- An aggregate has an entry if it has rows, or a version, or both. Its version ``gen`` is the mark's where this side
  owns the bucket or has frozen it, and the applied one where it is the replica; an applied version of 0 is none.
- ``digest`` is ``documents.digest_of`` of the document made from the rows now, never a stored one; null where there are
  no rows. Where rows make no document it is ``!`` and the reason, and equals nothing.
- ``sum``: for each entry the line ``key|gen|digest`` and a line feed, null as nothing; the lines sorted by their UTF-8
  bytes and joined; of that, the first 32 hexadecimal digits of SHA-256. Nothing at all has the sum of no bytes.
- ``count`` is the number of entries.

Asked for keys, only these are looked at, and the range is not.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.models import F, Q
from django.db.models.functions import Collate, Length
from django.db.models.lookups import GreaterThan, LessThanOrEqual
from django.utils import timezone

from migrations_plan.sync import ownership
from migrations_plan.sync.aggregates import Aggregate
from migrations_plan.sync.buckets import bucket
from migrations_plan.sync.capture.triggers import NO_OWNER
from migrations_plan.sync.database import lock_shared, snapshot
from migrations_plan.sync.documents import IN_CHUNK, form_of
from migrations_plan.sync.errors import Busy, NotTheOwner, Unloadable
from migrations_plan.sync.messages import Again, Boundary, BucketState, Digest, Entry, State
from migrations_plan.sync.models import Applied, Mark
from migrations_plan.sync.scan import Scanned, scan_of
from migrations_plan.sync.spans import spans

SENDING = frozenset({State.OWNER, State.FROZEN})
"""What a side has to be to a bucket for its version to be the mark's."""


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Which aggregates are meant: a range, or some keys."""

    after: Any = None
    until: Any = None
    keys: Mapping[str, Any] = field(default_factory=dict)
    """By text."""

    def covers(self, key: Any) -> bool:
        """Return whether a key is in the range."""
        return (self.after is None or key > self.after) and (self.until is None or key <= self.until)


class _Version(NamedTuple):
    bucket: int
    gen: int | None
    acked: int | None = None


def digest(aggregate: Aggregate, boundary: Boundary, *, detail: bool, keys: tuple[str, ...] = ()) -> Digest:
    """Return what this side holds in a range of keys, or of the given ones."""
    asked, scan = _asked(aggregate, boundary, keys), scan_of(aggregate)
    with snapshot(aggregate.alias):
        states = ownership.states(aggregate)
        versions = _versions(aggregate, asked, states)
        rows = scan.of_keys(list(asked.keys.values())) if keys else scan.in_range(asked.after, asked.until)
        entries = _entries(aggregate, asked, rows, versions, states)
        if detail:
            found = [
                Entry(key=key, bucket=of, gen=gen, digest=made, acked=acked) for key, of, gen, made, acked in entries
            ]
            lines = [_line(one.key, one.gen, one.digest) for one in found]
        else:
            lines = [_line(key, gen, made) for key, _, gen, made, _ in entries]
    return Digest(
        count=len(lines),
        sum=sum_of(lines),
        buckets=states,
        entries=tuple(found) if detail else None,
        version=aggregate.version,
    )


def sum_of(lines: list[str]) -> str:
    """Return what stands for all entries together, in whatever order they come."""
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()[:32]


def boundaries(aggregate: Aggregate, size: int) -> tuple[Boundary, ...]:
    """Cut the keys that have rows here into ranges of ``size``; together they cover every key there may be."""
    form = form_of(aggregate)
    cuts = [form.key_text(key) for key in scan_of(aggregate).cuts(size)]
    return tuple(Boundary(after=after, until=until) for after, until in zip([None, *cuts], [*cuts, None], strict=True))


def repair(aggregate: Aggregate, keys: Sequence[Again]) -> int:
    """Mark aggregates to be sent again, with a version above the one given; return how many.

    Only where this side owns the bucket or has frozen it: a replica's rows are not the truth. The first chunk that has
    a key of another bucket raises NotTheOwner, with the chunks before it done.
    """
    wanted: dict[str, Again] = {}
    for one in keys:
        known = wanted.get(one.key)
        wanted[one.key] = one if known is None or known.gen < one.gen else known
    ordered = [wanted[key] for key in sorted(wanted)]
    for start in range(0, len(ordered), IN_CHUNK):
        with transaction.atomic(using=aggregate.alias):
            _mark_again(aggregate, ordered[start : start + IN_CHUNK])
    return len(ordered)


# --- digests --------------------------------------------------------------------------------------------------
def _asked(aggregate: Aggregate, boundary: Boundary, keys: Collection[str]) -> _Asked:
    value = form_of(aggregate).key_value
    if keys:
        return _Asked(keys={key: value(key) for key in keys})
    after, until = boundary.after, boundary.until
    return _Asked(after=None if after is None else value(after), until=None if until is None else value(until))


def _line(key: str, gen: int | None, made: str | None) -> str:
    return f"{key}|{'' if gen is None else gen}|{made or ''}\n"


def _entries(
    aggregate: Aggregate,
    asked: _Asked,
    rows: Iterator[Scanned],
    versions: dict[str, _Version],
    states: Sequence[BucketState],
) -> Iterator[tuple[str, int, int | None, str | None, int | None]]:
    """Yield key, bucket, version, digest and acknowledged version of every aggregate that has any of them."""
    # `versions` are used up here; what is left of them has no rows.
    take = versions.pop
    for row in rows:
        version = take(row.key, None)
        if version is None:
            yield row.key, bucket_of(aggregate, row.partition), None, row.digest, None
        else:
            yield row.key, version.bucket, version.gen, row.digest, version.acked
    value = form_of(aggregate).key_value
    for key, version in versions.items():
        if version.gen is not None and (asked.keys or _is_covered(asked, value, key)):
            yield key, version.bucket, version.gen, None, version.acked


def _is_covered(asked: _Asked, value: Any, key: str) -> bool:
    try:
        return asked.covers(value(key))
    except Unloadable:
        return False


def bucket_of(aggregate: Aggregate, partition: Any) -> int:
    """Return the bucket of a partition key, or of the column that holds the bucket; as the triggers count it."""
    if partition is None:
        return NO_OWNER
    return int(partition) if aggregate.bucket else bucket(aggregate.group, partition)


def _versions(aggregate: Aggregate, asked: _Asked, states: Sequence[BucketState]) -> dict[str, _Version]:
    """Return the versions that count: of marks in the buckets that this side sends from, else of what was applied."""
    sending = {state.bucket for state in states if state.state in SENDING}
    marks = _marks(aggregate, asked) if sending else {}
    if len(sending) == len(states) and states:
        return marks
    applied = _applied(aggregate, asked)
    if not sending:
        return applied
    # A replica's marks stay as they were, and so does what the owner has applied: each counts in its own buckets.
    found = {key: one for key, one in applied.items() if one.bucket not in sending}
    for key, mark in marks.items():
        if mark.bucket in sending and key not in found:
            found[key] = mark
    return found


def _marks(aggregate: Aggregate, asked: _Asked) -> dict[str, _Version]:
    found: dict[str, _Version] = {}
    for rows in _kept(Mark, aggregate, asked):
        for key, of, gen, acked in rows.values_list("key", "bucket", "gen", "acked"):
            found[key] = _Version(of, gen, acked)
    return found


def _applied(aggregate: Aggregate, asked: _Asked) -> dict[str, _Version]:
    found: dict[str, _Version] = {}
    for rows in _kept(Applied, aggregate, asked):
        for key, of, gen in rows.values_list("key", "bucket", "gen"):
            found[key] = _Version(of, gen or None)
    return found


def _kept(model: type[Mark] | type[Applied], aggregate: Aggregate, asked: _Asked) -> Iterator[Any]:
    """Yield the rows about the keys asked for, in as many queries as it takes."""
    rows: Any = model._base_manager.using(aggregate.alias).filter(aggregate=aggregate.name).order_by()
    if asked.keys:
        keys = list(asked.keys)
        for start in range(0, len(keys), IN_CHUNK):
            yield rows.filter(key__in=keys[start : start + IN_CHUNK])
    elif asked.after is None and asked.until is None:
        yield rows
    elif aggregate.key_kind == "integer":
        sized = rows.annotate(length=Length("key"))
        for span in spans(asked.after, asked.until):
            in_span = sized.filter(key__gte=span.low, key__lte=span.high)
            yield in_span.filter(length__gte=span.shortest, length__lte=span.longest)
    else:
        yield rows.filter(*_text_range(aggregate, asked))


def _text_range(aggregate: Aggregate, asked: _Asked) -> Iterator[Q | GreaterThan | LessThanOrEqual]:
    collated = aggregate.key_kind == "text" and connections[aggregate.alias].vendor == "postgresql"
    key = Collate(F("key"), "C") if collated else F("key")
    if asked.after is not None:
        yield GreaterThan(key, str(asked.after))
    if asked.until is not None:
        yield LessThanOrEqual(key, str(asked.until))


# --- repair ---------------------------------------------------------------------------------------------------
def _mark_again(aggregate: Aggregate, keys: Sequence[Again]) -> None:
    found = _found(aggregate, keys)
    lock_shared(aggregate.alias, aggregate.group, {of for of, _ in found.values()})
    require_sending(aggregate, {of for of, _ in found.values()})
    if _found(aggregate, keys) != found:
        raise Busy(f"Of the {aggregate.name} to mark again, one was changed at this very moment. Try again.")
    connection, now = connections[aggregate.alias], timezone.now()
    greatest = "GREATEST" if connection.vendor == "postgresql" else "MAX"
    moment = connection.ops.adapt_datetimefield_value(now)
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {Mark._meta.db_table} AS m "
            "(aggregate, key, bucket, gen, acked, deleted, changed_at, tries, reason) "
            "VALUES (%s, %s, %s, %s, 0, %s, %s, 0, '') ON CONFLICT (aggregate, key) DO UPDATE SET "
            f"gen = {greatest}(m.gen + 1, excluded.gen), bucket = excluded.bucket, deleted = excluded.deleted, "
            "changed_at = excluded.changed_at, retry_at = NULL, tries = 0, reason = ''",
            [(aggregate.name, one.key, found[one.key][0], one.gen + 1, not found[one.key][1], moment) for one in keys],
        )


def require_sending(aggregate: Aggregate, buckets: Collection[int]) -> None:
    """Raise NotTheOwner unless this side owns these buckets, or has frozen them; the caller holds their locks."""
    for one in ownership.locked_states(aggregate, buckets).values():
        if one.state not in SENDING:
            raise NotTheOwner(
                f"Bucket {one.bucket} of {aggregate.name} is {one.state} here: its rows are not the truth, so they are "
                "not sent. Mark them at the owner."
            )


def _found(aggregate: Aggregate, keys: Sequence[Again]) -> dict[str, tuple[int, bool]]:
    """Return the bucket of each key and whether it has a row: by its row, else by its mark, else as the caller says."""
    value = form_of(aggregate).key_value
    values = {one.key: value(one.key) for one in keys}
    partitions = scan_of(aggregate).partitions(list(values.values()))
    marks = Mark.objects.using(aggregate.alias).filter(aggregate=aggregate.name, key__in=list(values))
    marked = dict(marks.values_list("key", "bucket"))
    return {
        one.key: (
            (bucket_of(aggregate, partitions[values[one.key]]), True)
            if values[one.key] in partitions
            else (marked.get(one.key, one.bucket), False)
        )
        for one in keys
    }
