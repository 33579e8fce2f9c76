"""Ids from a range of the service's own, so that the two sides never mint the same one.

PostgreSQL's sequences begin at the range's start and take no notice of rows that arrive with the shop's ids. SQLite's
counters do, and the shop mints above this range there; so ours is counted in a table of its own.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.apps import AppConfig
from django.db import connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper

from migrations_plan.sync.ids import register_counter

RANGE_START = 2**40
"""The first id of a row that is made here; rows that come from the shop bring theirs."""
RANGE_END = 2**41
"""From here on the shop mints, where it runs on SQLite."""
APP = "own_store"
"""Named in each model, too, so that a test project can hold these tables beside the monolith's."""
TABLES = tuple(f"{APP}_{name}" for name in ("order", "item", "attempt"))
COUNTERS = f"{APP}_counter"


def mint(model: type[models.Model], count: int = 1) -> list[int]:
    """Return ids for new rows, never given out before; also if those rows are gone again, or their transaction."""
    connection = connections[router.db_for_write(model)]
    take = {"postgresql": _from_sequence, "sqlite": _from_counter}[connection.vendor]
    return take(connection, model._meta.db_table, count)


def start(connection: BaseDatabaseWrapper) -> None:
    """Let new ids begin at the range's start; what is further already stays where it is."""
    begin = {"postgresql": _start_sequence, "sqlite": _start_counter}[connection.vendor]
    for table in TABLES:
        begin(connection, table)


def after_migrate(sender: AppConfig, using: str, **kwargs: Any) -> None:
    """Start the ranges again, where something has set them back."""
    if router.allow_migrate(using, APP) and {*TABLES, COUNTERS} <= set(connections[using].introspection.table_names()):
        start(connections[using])


def announce(alias: Callable[[], str]) -> None:
    """Tell sync where rows of ours are minted on SQLite, for its check that the two sides keep apart."""
    for table in TABLES:
        register_counter(table, partial(_next, alias, table))


def _next(alias: Callable[[], str], table: str) -> int:
    connection = connections[alias()]
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"SELECT next FROM {COUNTERS} WHERE name = %s", [table])
        else:
            sequence = _sequence(connection, table)
            cursor.execute(f"SELECT last_value + CASE WHEN is_called THEN 1 ELSE 0 END FROM {sequence}")
        return int(cursor.fetchone()[0])


def _from_sequence(connection: BaseDatabaseWrapper, table: str, count: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)", [table, count])
        return [row[0] for row in cursor.fetchall()]


def _from_counter(connection: BaseDatabaseWrapper, table: str, count: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {COUNTERS} SET next = next + %s WHERE name = %s RETURNING next", [count, table])
        after = int(cursor.fetchone()[0])
    return list(range(after - count, after))


def _start_sequence(connection: BaseDatabaseWrapper, table: str) -> None:
    sequence = _sequence(connection, table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT setval(%s, %s, false) FROM {sequence} WHERE last_value < %s", [sequence, *[RANGE_START] * 2]
        )


def _sequence(connection: BaseDatabaseWrapper, table: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", [table])
        return str(cursor.fetchone()[0])


def _start_counter(connection: BaseDatabaseWrapper, table: str) -> None:
    """Go on behind the highest id that was minted here, also if the counter was lost."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT max(id) FROM {table} WHERE id >= %s AND id < %s", [RANGE_START, RANGE_END])
        highest = cursor.fetchone()[0]
        cursor.execute(
            f"INSERT INTO {COUNTERS} (name, next) VALUES (%s, %s) "
            "ON CONFLICT (name) DO UPDATE SET next = max(next, excluded.next)",
            [table, max(RANGE_START, (highest or 0) + 1)],
        )
