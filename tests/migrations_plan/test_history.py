"""Nobody changes the past: not the ORM, not raw SQL, not the admin."""

from collections.abc import Callable

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from migrations_plan import append_only
from migrations_plan.errors import HistoryIsAppendOnly
from migrations_plan.models import HistoryEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def entry() -> HistoryEntry:
    return HistoryEntry.objects.create(service="orders", version=1, at=timezone.now(), kind="begun", actor="alice")


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.save(),
        lambda entry: entry.save(update_fields=["actor"]),
        lambda entry: entry.delete(),
        lambda entry: HistoryEntry.objects.update(actor="mallory"),
        lambda entry: HistoryEntry.objects.filter(pk=entry.pk).delete(),
        lambda entry: HistoryEntry.objects.bulk_update([entry], ["actor"]),
        lambda entry: HistoryEntry.objects.get(pk=entry.pk).delete(),
    ],
)
def test_the_orm_refuses(entry: HistoryEntry, change: Callable[[HistoryEntry], object]) -> None:
    entry.actor = "mallory"
    with pytest.raises(HistoryIsAppendOnly, match="append-only"):
        change(entry)
    assert HistoryEntry.objects.get().actor == "alice"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE migrations_plan_historyentry SET actor = 'mallory'",
        "UPDATE migrations_plan_historyentry SET actor = actor",
        "DELETE FROM migrations_plan_historyentry",
    ],
)
@pytest.mark.usefixtures("entry")
def test_the_database_refuses_raw_sql(statement: str) -> None:
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert HistoryEntry.objects.get().actor == "alice"


def test_a_missing_trigger_is_a_warning_and_migrate_puts_it_back() -> None:
    def found() -> list[str | None]:
        return [message.id for message in run_checks(tags=["database"], databases=["default"])]

    assert append_only.installed(connection)
    append_only.remove(connection)
    assert "migrations_plan.W002" in found()
    call_command("migrate", "migrations_plan", verbosity=0)
    assert append_only.installed(connection)
    assert "migrations_plan.W002" not in found()
