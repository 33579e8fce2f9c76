"""Rows of many documents at once, in as few statements as it takes, by the columns that sync is about and no others."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db import connections, models

from migrations_plan.sync import arrays
from migrations_plan.sync.aggregates import Aggregate, Part, Rows
from migrations_plan.sync.capture.triggers import column_name
from migrations_plan.sync.documents import Loaded, LoadedRow
from migrations_plan.sync.fields import pointed_at

PARAMETERS = 30_000
"""The most that one statement may have; SQLite takes 32,766, PostgreSQL twice as many."""
NATIVE = (
    models.IntegerField,
    models.BooleanField,
    models.CharField,
    models.TextField,
)
"""Columns whose values both drivers take as they are."""
NATIVE_TO_PSYCOPG = (models.DateField, models.TimeField, models.DurationField, models.DecimalField, models.UUIDField)

ARRAY = 10_000
"""The most elements of an array."""
SPELLED: tuple[tuple[type[Any], Callable[[Iterable[Any]], str]], ...] = (
    (models.IntegerField, arrays.plain),
    (models.BooleanField, arrays.plain),
    (models.DecimalField, arrays.plain),
    (models.UUIDField, arrays.plain),
    (models.CharField, arrays.quoted),
    (models.TextField, arrays.quoted),
    (models.DateField, arrays.quoted),
    (models.TimeField, arrays.quoted),
)
"""Columns whose arrays are spelled out here; those of others are left to the driver."""


class WrongParent(Exception):
    """A part is in the hands of another aggregate here, which has to let it go first."""


class Writer:
    """Writes the rows of one aggregate; the caller holds the transaction."""

    def __init__(self, aggregate: Aggregate) -> None:
        self.aggregate = aggregate
        self._root = _Table(aggregate.root, aggregate.alias)
        self._parts = [(part, _Table(part, aggregate.alias)) for part in aggregate.parts]

    def put(self, documents: Sequence[Loaded], *, carefully: bool = False) -> None:
        """Make the rows equal to the documents: parts that are not listed any more go, others are upserted.

        ``carefully`` costs a query more a table: rows that are there are changed before new ones come, which may need
        a unique value that the old ones give up.
        """
        if not documents:
            return
        keys = [document.root.key for document in documents]
        upsert = _Table.update_then_insert if carefully else _Table.upsert
        upsert(self._root, [document.root for document in documents])
        for number, (_, table) in enumerate(self._parts):
            rows = [row for document in documents for row in document.parts[number]]
            table.delete_others(keys, [row.key for row in rows])
            upsert(table, rows)

    def delete(self, keys: Sequence[Any]) -> None:
        """Remove aggregates, parts first."""
        if not keys:
            return
        for _, table in reversed(self._parts):
            table.delete_others(keys, [])
        self._root.delete(keys)


class _Table:
    def __init__(self, rows: Rows, alias: str) -> None:
        self.connection = connections[alias]
        quote = self.connection.ops.quote_name
        fields = {field.attname: field for field in rows.model_class._meta.concrete_fields}
        self.fields = [fields[attribute] for attribute in rows.synced_columns]
        self.adapts = [_adapter(field, self.connection) for field in self.fields]
        self.spells = [_spelling(field) for field in self.fields]
        self.extra = [_default(fields[attribute], self.connection) for attribute in rows.unsynced]
        self.of_part = isinstance(rows, Part)
        self.table = quote(rows.table)
        names = [quote(column_name(rows, attribute)) for attribute in (*rows.synced_columns, *rows.unsynced)]
        self.width = len(names)
        self.key = names[0]
        self.parent = names[1] if isinstance(rows, Part) else ""
        synced = names[1 : len(self.fields)]
        updates = ", ".join(f"{name} = excluded.{name}" for name in synced) or f"{self.key} = excluded.{self.key}"
        self.insert = f"INSERT INTO {self.table} AS t ({', '.join(names)})"
        self.arrays = self._arrays() if self.connection.vendor == "postgresql" else ""
        self.conflict = f" ON CONFLICT ({self.key}) DO UPDATE SET {updates}"
        if self.parent:
            self.conflict += f" WHERE t.{self.parent} = excluded.{self.parent}"

    def upsert(self, rows: Sequence[LoadedRow]) -> None:
        """Insert rows or make those of the same key equal to them."""
        write = self._insert_arrays if self.arrays else self._insert_values
        step = ARRAY if self.arrays else max(1, PARAMETERS // self.width)
        with self.connection.cursor() as cursor:
            for start in range(0, len(rows), step):
                chunk = rows[start : start + step]
                write(cursor, chunk)
                if self.parent and cursor.rowcount != len(chunk):
                    raise WrongParent(f"A row of {self.table} is in the hands of another aggregate here.")

    def _insert_arrays(self, cursor: Any, rows: Sequence[LoadedRow]) -> None:
        """Hand each column over as one array, which PostgreSQL's driver does much faster than single values."""
        columns = [
            spell(values if adapt is None else [None if value is None else adapt(value) for value in values])
            for spell, adapt, values in zip(
                self.spells, self.adapts, zip(*(row.values for row in rows), strict=True), strict=True
            )
        ]
        cursor.execute(f"{self.insert} SELECT {self.arrays}{self.conflict}", [*self.extra, *columns])

    def _insert_values(self, cursor: Any, rows: Sequence[LoadedRow]) -> None:
        one = f"({', '.join(['%s'] * self.width)})"
        parameters: list[Any] = []
        for row in rows:
            parameters.extend(
                value if adapt is None or value is None else adapt(value)
                for adapt, value in zip(self.adapts, row.values, strict=True)
            )
            parameters.extend(self.extra)
        cursor.execute(f"{self.insert} VALUES {', '.join([one] * len(rows))}{self.conflict}", parameters)

    def _arrays(self) -> str:
        """Return the selection from the columns' arrays, and of the values that all new rows get."""
        # Plain types: a cast to varchar(20) cuts off and one to numeric(12, 2) rounds, where an assignment refuses.
        kinds = [str(field.rel_db_type(self.connection)).partition("(")[0] for field in self.fields]
        arrays = ", ".join(f"%s::{'text' if kind == 'varchar' else kind}[]" for kind in kinds)
        return ", ".join(["a.*", *["%s"] * len(self.extra)]) + f" FROM unnest({arrays}) a"

    def update_then_insert(self, rows: Sequence[LoadedRow]) -> None:
        """Upsert, those first that exist already."""
        if not rows:
            return
        keys = [_prepared(self.fields[0], row.key, self.connection) for row in rows]
        condition, parameters = self._among(self.fields[0], keys)
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT {self.key} FROM {self.table} WHERE {self.key} {condition}", parameters)
            there = {row[0] for row in cursor.fetchall()}
        known = [_prepared(self.fields[0], row.key, self.connection) in there for row in rows]
        self.upsert([row for row, known_one in zip(rows, known, strict=True) if known_one])
        self.upsert([row for row, known_one in zip(rows, known, strict=True) if not known_one])

    def delete(self, keys: Sequence[Any]) -> None:
        """Remove rows by key."""
        self._delete(self.key, keys, [])

    def delete_others(self, parents: Sequence[Any], keep: Sequence[Any]) -> None:
        """Remove the rows of these parents that are not among those to keep."""
        self._delete(self.parent, parents, keep)

    def _delete(self, column: str, values: Sequence[Any], keep: Sequence[Any]) -> None:
        key, of = self.fields[0], self.fields[1 if column == self.parent and self.parent else 0]
        wanted = [_prepared(of, value, self.connection) for value in values]
        kept = [_prepared(key, value, self.connection) for value in keep]
        condition, parameters = self._among(of, wanted)
        sql = f"DELETE FROM {self.table} WHERE {column} {condition}"
        if kept:
            condition, more = self._among(key, kept)
            sql, parameters = f"{sql} AND NOT ({self.key} {condition})", [*parameters, *more]
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)

    def _among(self, field: "models.Field[Any, Any]", values: list[Any]) -> tuple[str, list[Any]]:
        if self.connection.vendor == "postgresql":
            return "= ANY(%s)", [_spelling(field)(values)]
        return f"IN ({', '.join(['%s'] * len(values))})", list(values)


def _adapter(field: "models.Field[Any, Any]", connection: Any) -> Callable[[Any], Any] | None:
    native = (*NATIVE, *NATIVE_TO_PSYCOPG) if connection.vendor == "postgresql" else NATIVE
    if isinstance(pointed_at(field), native):
        return None
    return lambda value: field.get_db_prep_save(value, connection)


def _spelling(field: "models.Field[Any, Any]") -> Callable[[Iterable[Any]], Any]:
    target = pointed_at(field)
    return next((spell for kind, spell in SPELLED if isinstance(target, kind)), list)


def _prepared(field: "models.Field[Any, Any]", value: Any, connection: Any) -> Any:
    return field.get_db_prep_value(value, connection)


def _default(field: "models.Field[Any, Any]", connection: Any) -> Any:
    return field.get_db_prep_save(field.get_default(), connection)
