"""Find out whether the monolith's tables still look as the unmanaged models say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

COLUMNS = {
    "postgresql": "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute "
    "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
    "sqlite": 'SELECT name, type, "notnull" FROM pragma_table_info(%s)',
}
SPELLINGS = (("character varying", "varchar"), (", ", ","))
"""The same type, as the database and as Django write it."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """What a column accepts."""

    type: str
    nullable: bool

    def __str__(self) -> str:
        return f"{self.type}{'' if self.nullable else ' NOT NULL'}"


def check_mirror(
    app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Compare every unmanaged model with its table; runs with `check --database default`."""
    mirrors = [model for model in apps.get_app_config("legacy_store").get_models() if not model._meta.managed]
    return [problem for alias in databases or () for model in mirrors for problem in compare(model, connections[alias])]


def compare(model: type[models.Model], connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """Return how the model's table differs from the model."""
    table = model._meta.db_table
    mirrored, real = mirrored_columns(model, connection), real_columns(table, connection)
    if not real:
        hint = "Point ORDERS_DATABASE_URL at the monolith's database, and migrate the monolith first."
        return [Error(f"There is no table {table}.", hint=hint, obj=model, id="legacy_store.E001")]
    return [
        Error(
            f"Column {table}.{name} is {real.get(name, 'missing')} in the database and "
            f"{mirrored.get(name, 'missing')} in the mirror.",
            hint="The monolith's schema has changed: change extracted/orders/legacy_store/models.py with it.",
            obj=model,
            id="legacy_store.E002",
        )
        for name in sorted(mirrored.keys() | real.keys())
        if mirrored.get(name) != real.get(name)
    ]


def mirrored_columns(model: type[models.Model], connection: BaseDatabaseWrapper) -> dict[str, Column]:
    """Return the columns that the model believes in."""
    return {
        str(field.column): Column(type=_spelled(field.db_type(connection) or ""), nullable=field.null)
        for field in model._meta.concrete_fields
    }


def real_columns(table: str, connection: BaseDatabaseWrapper) -> dict[str, Column]:
    """Return the columns that the database has."""
    with connection.cursor() as cursor:
        cursor.execute(COLUMNS[connection.vendor], [table])
        return {name: Column(type=_spelled(kind), nullable=not filled) for name, kind, filled in cursor.fetchall()}


def _spelled(kind: str) -> str:
    """Return a type in one spelling."""
    for long, short in SPELLINGS:
        kind = kind.replace(long, short)
    return kind.lower()
