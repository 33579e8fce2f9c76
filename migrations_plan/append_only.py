"""Let the database itself refuse to change history, also for raw SQL and other programs."""

from typing import Any

from django.apps import AppConfig
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from migrations_plan.models import HistoryEntry

NAME = "migrations_plan_history_append_only"
TABLE = HistoryEntry._meta.db_table
MESSAGE = "the history of phases is append-only"

INSTALL: dict[str, tuple[str, ...]] = {
    "postgresql": (
        f"CREATE OR REPLACE FUNCTION {NAME}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$BEGIN RAISE EXCEPTION '{MESSAGE}' USING ERRCODE = 'restrict_violation'; END$$",
        f"DROP TRIGGER IF EXISTS {NAME} ON {TABLE}",
        f"CREATE TRIGGER {NAME} BEFORE UPDATE OR DELETE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION {NAME}()",
    ),
    "sqlite": tuple(
        f"CREATE TRIGGER IF NOT EXISTS {NAME}_{verb} BEFORE {verb.upper()} ON {TABLE} "
        f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
        for verb in ("update", "delete")
    ),
}
REMOVE: dict[str, tuple[str, ...]] = {
    "postgresql": (f"DROP TRIGGER IF EXISTS {NAME} ON {TABLE}",),
    "sqlite": tuple(f"DROP TRIGGER IF EXISTS {NAME}_{verb}" for verb in ("update", "delete")),
}
COUNT: dict[str, tuple[str, int]] = {
    "postgresql": (
        f"SELECT count(*) FROM pg_trigger WHERE tgname = '{NAME}' AND tgrelid = to_regclass('{TABLE}') "
        "AND tgenabled <> 'D'",
        1,
    ),
    "sqlite": (f"SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name LIKE '{NAME}%'", 2),
}


def install(connection: BaseDatabaseWrapper) -> None:
    """Create the triggers; do nothing where they are, or on a database we have none for."""
    _run(connection, INSTALL)


def remove(connection: BaseDatabaseWrapper) -> None:
    """Drop the triggers, so that a test may empty its database."""
    _run(connection, REMOVE)


def installed(connection: BaseDatabaseWrapper) -> bool | None:
    """Return whether the triggers are there; None on a database we have none for."""
    if connection.vendor not in COUNT:
        return None
    statement, wanted = COUNT[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return bool(cursor.fetchone()[0] == wanted)


def after_migrate(sender: AppConfig, using: str, **_: Any) -> None:
    """Put the triggers (back) after Django's migrations, which rebuild tables on SQLite without them."""
    connection = connections[using]
    if router.allow_migrate_model(using, HistoryEntry) and TABLE in connection.introspection.table_names():
        install(connection)


def _run(connection: BaseDatabaseWrapper, statements: dict[str, tuple[str, ...]]) -> None:
    with connection.cursor() as cursor:
        for statement in statements.get(connection.vendor, ()):
            cursor.execute(statement)
