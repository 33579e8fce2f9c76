"""The digests of many documents at once, straight from the rows: by key, not by marks, and not the way the relay reads.

The bytes are those of ``documents.canonical``. What makes it fast: whole columns are converted at a time, the fields
are put in sorted order once instead of per document, and PostgreSQL spells moments and amounts itself, so that no
datetime and no Decimal is made of them only to be spelled again.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from django.db import connections, models
from django.db.models import F, Func, Q, TextField
from django.db.models.functions import Cast, Collate
from django.db.models.lookups import GreaterThan, In, LessThanOrEqual

from migrations_plan.sync.aggregates import Aggregate, Part, Rows
from migrations_plan.sync.documents import IN_CHUNK, KEY, Row
from migrations_plan.sync.fields import Column, Convert, Field, Money, codec_of, column_of

BLOCK = 5_000
"""Aggregates whose rows are held in memory at once."""
UNREADABLE = "!"
"""What a digest begins with where the rows make no document; the reason follows. It equals nothing."""
LONGEST_REASON = 200

Condition = Q | GreaterThan | LessThanOrEqual | In
_encode = msgspec.json.Encoder().encode
_sha256 = hashlib.sha256


class Scanned(NamedTuple):
    """One aggregate that has a row here."""

    key: str
    partition: Any
    """The partition key, or the stored bucket where there is one."""
    digest: str


class _Utc(Func):
    """A moment as PostgreSQL writes it, in UTC whatever the connection's time zone is."""

    template = "((%(expressions)s AT TIME ZONE 'UTC')::text)"
    output_field = TextField()


class _Columns:
    """One table's part of the documents, compiled: what to select, how to convert it, which fields in which order."""

    def __init__(self, rows: Rows, first: Sequence[str], more: Sequence[str]) -> None:
        self.select: list[Any] = [F(name) for name in first]
        self._fields: dict[str, tuple[int, int, Convert | None]] = {}
        vendor = connections[rows.alias].vendor
        for field in rows.fields:
            expressions, convert = _selected(rows.model_class, field, vendor)
            self._fields[field.name] = (len(self.select), len(expressions), convert)
            self.select.extend(expressions)
        if isinstance(rows, Part):
            self._fields[KEY] = (first.index(rows.key.attname), 1, codec_of(rows.key).dump)
        self.names = sorted([*self._fields, *more])
        # As structs with their fields in sorted order, documents need no sorting when they are encoded.
        attributes = [f"f{number}" for number in range(len(self.names))]
        renamed = dict(zip(attributes, self.names, strict=True))
        self._struct: Callable[..., Any] = msgspec.defstruct("Fields", attributes, rename=renamed, gc=False)

    def documents(self, columns: Sequence[Sequence[Any]], given: Mapping[str, Sequence[Any]]) -> Iterator[Any]:
        """Make what the rows say, which are given as columns; ``given`` has the fields that are not in this table."""
        made = [given[name] if name in given else self._made(columns, *self._fields[name]) for name in self.names]
        return map(self._struct, *made)

    def _made(self, columns: Sequence[Sequence[Any]], at: int, width: int, convert: Convert | None) -> Sequence[Any]:
        if convert is None:
            return columns[at]
        if width == 1:
            return [None if value is None else convert(value) for value in columns[at]]
        return [convert(values) for values in zip(*columns[at : at + width], strict=True)]


class Scan:
    """Reads the digests of one aggregate; the caller holds the snapshot."""

    def __init__(self, aggregate: Aggregate) -> None:
        self.aggregate = aggregate
        root = aggregate.root
        self._partition = aggregate.bucket or aggregate.partition_key
        self._collated = aggregate.key_kind == "text" and connections[aggregate.alias].vendor == "postgresql"
        self._key = root.key.attname
        self._root = _Columns(root, (self._key, self._partition), [part.name for part in aggregate.parts])
        self._parts = [(part, _Columns(part, (part.parent, part.key.attname), ())) for part in aggregate.parts]

    def in_range(self, after: Any, until: Any) -> Iterator[Scanned]:
        """Yield the aggregates with keys above ``after``, up to ``until``, in the order of their keys; None is open."""
        while True:
            rows = self._rows(self.aggregate.root, self._root, self._between(self._key, after, until))
            roots = list(rows.order_by(self.ordered())[:BLOCK])
            last = roots[-1][0] if len(roots) == BLOCK else until
            parts = [
                list(self._rows(part, columns, self._between(part.parent, after, last)).order_by("pk"))
                for part, columns in self._parts
                if roots
            ]
            yield from self._scanned(roots, parts)
            if len(roots) < BLOCK:
                return
            after = last

    def of_keys(self, keys: Sequence[Any]) -> Iterator[Scanned]:
        """Yield those of the aggregates that have rows."""
        for start in range(0, len(keys), IN_CHUNK):
            chunk = keys[start : start + IN_CHUNK]
            roots = list(self._rows(self.aggregate.root, self._root, [Q(pk__in=chunk)]))
            parts = [
                list(self._rows(part, columns, [Q((f"{part.parent}__in", chunk))]).order_by("pk"))
                for part, columns in self._parts
            ]
            yield from self._scanned(roots, parts)

    def partitions(self, keys: Sequence[Any]) -> dict[Any, Any]:
        """Return the partition keys of those of the aggregates that have rows, by key."""
        rows = self.aggregate.root.model_class._base_manager.using(self.aggregate.alias)
        return dict(rows.filter(pk__in=keys).values_list("pk", self._partition))

    def cuts(self, size: int) -> Iterator[Any]:
        """Yield every key that has ``size`` keys or a multiple of it up to and including itself."""
        after = None
        while True:
            rows = self.aggregate.root.model_class._base_manager.using(self.aggregate.alias)
            above = rows.filter(*self._between(self._key, after, None)).order_by(self.ordered())
            found = list(above.values_list("pk", flat=True)[size - 1 : size])
            if not found:
                return
            yield (after := found[0])

    def ordered(self) -> Any:
        """Return what keys are ordered by: their code points, whatever the database takes for alphabetical."""
        return Collate(F(self._key), "C") if self._collated else F(self._key)

    def _between(self, column: str, after: Any, until: Any) -> list[Condition]:
        by = Collate(F(column), "C") if self._collated else F(column)
        field = column_of(self.aggregate.root.model_class, self._key)
        conditions: list[Condition] = []
        if after is not None:
            conditions.append(GreaterThan(by, models.Value(after, output_field=_plain(field))))
        if until is not None:
            conditions.append(LessThanOrEqual(by, models.Value(until, output_field=_plain(field))))
        return conditions

    def _rows(self, rows: Rows, columns: _Columns, conditions: Sequence[Condition]) -> Any:
        found = rows.model_class._base_manager.using(self.aggregate.alias)
        return found.filter(*conditions).order_by().values_list(*columns.select)

    def _scanned(self, roots: Sequence[Row], parts: Sequence[Sequence[Row]]) -> list[Scanned]:
        """Make the digests; where a value cannot be spelled, halve until it is known whose it is."""
        if not roots:
            return []
        try:
            return self._digested(roots, parts)
        except Exception as error:  # a value that has no spelling, or a project's own conversion
            if len(roots) == 1:
                reason = f"{UNREADABLE}{error or type(error).__name__}"[:LONGEST_REASON]
                return [Scanned(str(roots[0][0]), roots[0][1], reason)]
        middle, found = len(roots) // 2, []
        for half in (roots[:middle], roots[middle:]):
            keys = {row[0] for row in half}
            found.extend(self._scanned(half, [[row for row in rows if row[0] in keys] for rows in parts]))
        return found

    def _digested(self, roots: Sequence[Row], parts: Sequence[Sequence[Row]]) -> list[Scanned]:
        columns = list(zip(*roots, strict=True))
        keys, partitions = columns[0], columns[1]
        given: dict[str, Sequence[Any]] = {}
        for (part, table), rows in zip(self._parts, parts, strict=True):
            listed = _by_parent(table, rows)
            given[part.name] = [listed.get(key, ()) for key in keys]
        documents = self._root.documents(columns, given)
        return [
            Scanned(str(key), partition, _sha256(_encode(document)).hexdigest()[:32])
            for key, partition, document in zip(keys, partitions, documents, strict=True)
        ]


def _by_parent(table: _Columns, rows: Sequence[Row]) -> dict[Any, list[Any]]:
    listed: dict[Any, list[Any]] = {}
    if rows:
        columns = list(zip(*rows, strict=True))
        for parent, document in zip(columns[0], table.documents(columns, {}), strict=True):
            if parent in listed:
                listed[parent].append(document)
            else:
                listed[parent] = [document]
    return listed


def _plain(field: "models.Field[Any, Any]") -> "models.Field[Any, Any]":
    """Return the field that a key's values are of: that of the other row where the key is a reference."""
    while field.remote_field is not None:
        field = field.target_field  # type: ignore[attr-defined]
    return field


def _selected(model: type[models.Model], field: Field, vendor: str) -> tuple[list[Any], Convert | None]:
    """Return what to select for a field of the document, and how to convert what comes."""
    if vendor == "postgresql" and isinstance(field, Column):
        column = column_of(model, field.column)
        if type(field) is Column and type(column) is models.DateTimeField:
            return [_Utc(F(field.column))], _moment
        if type(field) is Money and type(column) is models.DecimalField:
            return [Cast(F(field.column), TextField())], _minor(field, model)
    return [F(name) for name in field.columns], field.codec(model).dump


def _moment(text: str) -> str:
    """Respell ``2026-11-27 02:05:15.123456``, whose fraction PostgreSQL writes without trailing zeros."""
    if len(text) == 26:
        return f"{text[:10]}T{text[11:]}Z"
    whole, _, fraction = text.partition(".")
    return f"{whole[:10]}T{whole[11:]}.{fraction:0<6}Z"


def _minor(field: Money, model: type[models.Model]) -> Convert:
    """Return what turns an amount's text into minor units."""
    digits, dump, column = field.digits, field.codec(model).dump, column_of(model, field.column)

    def convert(text: str) -> int:
        whole, _, fraction = text.partition(".")
        if len(fraction) == digits:
            return int(whole + fraction)
        assert dump is not None
        value: int = dump(column.to_python(text))
        return value

    return convert


_scans: dict[tuple[str, str], Scan] = {}


def scan_of(aggregate: Aggregate) -> Scan:
    """Return the compiled scan of an aggregate."""
    name = (aggregate.name, aggregate.root.model)
    scan = _scans.get(name)
    if scan is None or scan.aggregate is not aggregate:
        scan = _scans[name] = Scan(aggregate)
    return scan
