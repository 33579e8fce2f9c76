"""The service looks after the schema of its own store itself, and after no other."""

import sqlite3
from pathlib import Path
from typing import Any

from extracted.orders.own_store.ids import RANGE_START
from tests.own import ALIAS
from tests.processes import database_url

OWN = {"ORDERS_STORE": "own"}


def test_migrations_make_the_tables_and_the_triggers(run_service_command: Any, tmp_path: Path) -> None:
    file = tmp_path / "orders.sqlite3"
    env = {**OWN, "ORDERS_OWN_DATABASE_URL": f"sqlite:///{file}"}
    for _ in range(2):
        code, output = run_service_command("migrate", **env)
        assert code == 0, output
    code, output = run_service_command("check", "--database", "default", "--fail-level", "WARNING", **env)
    assert code == 0, output
    with sqlite3.connect(file) as database:
        found = set(database.execute("SELECT type, tbl_name FROM sqlite_master WHERE type IN ('table', 'trigger')"))
        assert {("table", f"own_store_{name}") for name in ("order", "item", "attempt")} <= found
        assert {("trigger", f"own_store_{name}") for name in ("order", "item", "attempt")} <= found
        sequences = dict(database.execute("SELECT name, seq FROM sqlite_sequence WHERE name LIKE 'own_store_%'"))
        owned = database.execute("SELECT DISTINCT state, count(*) FROM strangler_sync_ownership GROUP BY state")
        assert list(owned) == [("replica", 100)]
    database.close()
    assert set(sequences.values()) == {RANGE_START - 1}


def test_the_shops_database_is_refused(run_service_command: Any) -> None:
    for command in (("migrate",), ("check", "--database", "default")):
        code, output = run_service_command(*command, **OWN, ORDERS_OWN_DATABASE_URL=database_url())
        assert code == 1
        assert "holds orders_order: it is the monolith's" in output


def test_the_tests_database_is_what_the_service_expects(run_service_command: Any) -> None:
    env = {**OWN, "ORDERS_OWN_DATABASE_URL": database_url(ALIAS)}
    code, output = run_service_command("migrate", "--check", **env)
    assert code == 0, output


def test_there_is_nothing_to_migrate(run_service_command: Any) -> None:
    env = {**OWN, "ORDERS_OWN_DATABASE_URL": database_url(ALIAS)}
    assert run_service_command("makemigrations", "--check", "--dry-run", **env) == (0, "No changes detected\n")
