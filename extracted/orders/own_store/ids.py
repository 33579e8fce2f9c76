"""Ids from a range of the service's own, so that the two sides never mint the same one."""

from typing import Any

from django.apps import AppConfig
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

RANGE_START = 2**40
"""The first id of a row that is made here; rows that come from the shop bring theirs, from far below."""
APP = "own_store"
"""Named in each model, too, so that a test project can hold these tables beside the monolith's."""
TABLES = tuple(f"{APP}_{name}" for name in ("order", "item", "attempt"))


def start(connection: BaseDatabaseWrapper) -> None:
    """Let new ids begin at the range's start; a sequence that is further already stays where it is."""
    raise_sequence = {"postgresql": _postgresql, "sqlite": _sqlite}[connection.vendor]
    for table in TABLES:
        raise_sequence(connection, table)


def after_migrate(sender: AppConfig, using: str, **kwargs: Any) -> None:
    """Start the ranges again: on SQLite a migration that rebuilds a table begins to count at its highest id."""
    if router.allow_migrate(using, APP) and set(TABLES) <= set(connections[using].introspection.table_names()):
        start(connections[using])


def _postgresql(connection: BaseDatabaseWrapper, table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", [table])
        (sequence,) = cursor.fetchone()
        cursor.execute(
            f"SELECT setval(%s, %s, false) FROM {sequence} WHERE last_value < %s", [sequence, *[RANGE_START] * 2]
        )


def _sqlite(connection: BaseDatabaseWrapper, table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sqlite_sequence SET seq = max(seq, %s) WHERE name = %s", [RANGE_START - 1, table])
        cursor.execute(
            "INSERT INTO sqlite_sequence (name, seq) SELECT %s, %s "
            "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = %s)",
            [table, RANGE_START - 1, table],
        )
