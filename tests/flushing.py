"""Empty the tables after tests with real transactions, in a fraction of the time: there are hundreds of such tests."""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.management import create_permissions
from django.contrib.contenttypes.management import create_contenttypes
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.signals import post_migrate

from migrations_plan.sync.capture.triggers import PREFIX
from migrations_plan.sync.database import APPLYING

KEPT = frozenset({"django_content_type", "auth_permission"})
"""What Django would write anew, row by row, after each flush; no test changes it."""
QUIET = "strangler_sync_applying"
"""Emptied last: while it holds a row, SQLite's triggers are quiet."""


def flush_quickly(connection: BaseDatabaseWrapper) -> None:
    """Let Django's flush do less on this connection: it keeps what stays the same, and PostgreSQL need not wait."""
    as_django_does = connection.ops.sql_flush
    empty = _deletions if connection.vendor == "postgresql" and _wait_for_no_disk(connection) else as_django_does

    def sql_flush(style: Any, tables: Sequence[str], **options: Any) -> list[str]:
        wanted = sorted((table for table in tables if table not in KEPT), key=lambda table: table == QUIET)
        statements = empty(style, wanted, **options)
        return [*_past_fences(connection, tables), *statements, *_without_triggers(connection)]

    connection.ops.sql_flush = sql_flush  # type: ignore[method-assign]
    # What is kept need not be looked for after each flush, model by model.
    post_migrate.disconnect(dispatch_uid=f"{create_permissions.__module__}.{create_permissions.__name__}")
    post_migrate.disconnect(create_contenttypes)


def _past_fences(connection: BaseDatabaseWrapper, tables: Sequence[str]) -> list[str]:
    """Return what keeps the triggers of sync quiet, which would refuse to let a replica be emptied."""
    if connection.vendor == "postgresql":
        return [f"SELECT set_config('{APPLYING}', '1', true)"]
    if QUIET not in tables:
        return []
    return [f"INSERT INTO {QUIET} DEFAULT VALUES"]


def _without_triggers(connection: BaseDatabaseWrapper) -> list[str]:
    """Return what takes away the triggers that a test has left: the next one's writes would meet fences of nobody."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT t.tgname, c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
                "WHERE starts_with(t.tgname, %s)",
                [PREFIX],
            )
            return [f'DROP TRIGGER IF EXISTS "{name}" ON "{table}"' for name, table in cursor.fetchall()]
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE %s", [f"{PREFIX}%"])
        return [f'DROP TRIGGER IF EXISTS "{name}"' for (name,) in cursor.fetchall()]


def _wait_for_no_disk(connection: BaseDatabaseWrapper) -> bool:
    """Let a test database lose its last transactions in a power cut; return whether we may leave out triggers."""
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER DATABASE "{connection.settings_dict["NAME"]}" SET synchronous_commit = off')
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        (superuser,) = cursor.fetchone()
    connection.close()
    return bool(superuser)


def _deletions(style: Any, tables: Sequence[str], **options: Any) -> list[str]:
    """Return what empties tables as TRUNCATE does, past triggers on rows and in any order.

    TRUNCATE itself makes new files for all tables and indexes, and has them written to the disk, for whatever few rows.
    """
    return ["SET LOCAL session_replication_role = replica", *(f'DELETE FROM "{table}"' for table in tables)]
