"""The database settings that a service reads from its environment."""

import psycopg
import pytest
from django.db import connection

from router.service import environment
from tests.processes import database_url


def test_no_idle_transaction_is_ended_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_URL", "postgresql://u@h/d")
    assert "options" not in environment.database("SOME_URL", "").get("OPTIONS", {})


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_process_that_froze_in_a_transaction_loses_its_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers in its place gets at the rows."""
    monkeypatch.setenv("SOME_URL", database_url())
    config = environment.database("SOME_URL", "", idle_seconds=1)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE frozen AS SELECT 1 AS id")
    try:
        with psycopg.connect(database_url(), options=config["OPTIONS"]["options"]) as frozen:
            frozen.execute("SELECT id FROM frozen FOR UPDATE")
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '10s'")
                cursor.execute("UPDATE frozen SET id = 2")
                assert cursor.rowcount == 1
            with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
                frozen.execute("SELECT 1")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout; DROP TABLE frozen")
