"""Django rebuilds tables on SQLite, and their triggers are gone without a word: somebody has to notice."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, connections, models
from django.db.models.signals import post_migrate, pre_migrate

from legacy_shop.orders.models import Order, OrderLine
from legacy_shop.payments.models import PaymentAttempt
from migrations_plan.sync import backfill, checks, operate
from migrations_plan.sync.aggregates import replaced
from migrations_plan.sync.capture import install, upkeep
from migrations_plan.sync.errors import SyncError
from migrations_plan.sync.messages import State
from migrations_plan.sync.models import Capture
from tests.migrations_plan.sync.houses import LEGACY, OWN, as_extracted, become, gen, order
from tests.own.rows import OwnOrder

pytestmark = [pytest.mark.sqlite, pytest.mark.django_db(databases=["default", "own"], transaction=True)]

SYNC = apps.get_app_config("strangler_sync")
COLUMNS = [(Order, "note"), (OrderLine, "name"), (PaymentAttempt, "failure")]


@pytest.fixture(autouse=True)
def no_triggers_left(both: Any) -> Iterator[None]:
    """Take the triggers away again: these tests commit."""
    yield
    for side in (LEGACY, OWN):
        upkeep.stop(side)


class Migration:
    """What a plan holds for a receiver: the app that a migration is of."""

    def __init__(self, app_label: str) -> None:
        self.app_label = app_label


def migrate(*labels: str, using: str = "default", work: Any = lambda: None) -> None:
    """Run something between the signals of a `migrate` whose plan has a migration of each app."""
    told = {"app_config": SYNC, "using": using, "verbosity": 0, "interactive": False}
    pre_migrate.send(sender=SYNC, plan=[(Migration(label), False) for label in labels], apps=apps, **told)
    work()
    post_migrate.send(sender=SYNC, plan=[], apps=apps, **told)


def rebuild(model: type[models.Model], name: str, editor_of: Any = connection) -> None:
    """Alter a column as a migration does, which makes SQLite's table anew; its contents stay."""
    old = model._meta.get_field(name)
    new = models.CharField(max_length=777, blank=True)
    new.set_attributes_from_name(name)
    new.model = model
    for before, after in ((old, new), (new, old)):
        with editor_of.schema_editor() as editor:
            editor.alter_field(model, before, after)


def missing(side: Any = LEGACY) -> set[str]:
    return {one.table for one in install.status(side) if not one.works}


def mark_all() -> None:
    backfill.run(LEGACY, progress=lambda done: None, wait=lambda seconds: None)


@pytest.mark.parametrize(("model", "name"), COLUMNS)
def test_after_migrations_the_triggers_are_back_and_everything_is_marked_anew(
    model: type[models.Model], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = order(lines=1)
    before = gen(made)
    with caplog.at_level(logging.ERROR, "strangler.sync"):
        migrate("orders", "payments", work=lambda: rebuild(model, name))
    assert missing() == set()
    assert "triggers were missing and are put back, everything is marked anew" in caplog.text
    assert Capture.objects.get().gaps == 1
    mark_all()
    assert gen(made) == before + 1
    made.lines.all().delete()
    assert gen(made) == before + 2


@pytest.mark.parametrize(("model", "name"), COLUMNS[1:])
def test_outside_of_migrations_it_is_seen_by_check_status_and_sweep(model: type[models.Model], name: str) -> None:
    order()
    rebuild(model, name)
    table = model._meta.db_table
    assert missing() == {table}
    (error,) = checks.check_triggers(databases=["default"])
    assert error.id == "strangler_sync.E010"
    assert f"{table}_insert (missing)" in error.msg
    assert all(table in told for told in operate.standing("orders").missing_triggers)
    assert upkeep.mend(LEGACY)
    assert missing() == set()


def test_migrations_of_other_apps_leave_everything_as_it_is() -> None:
    migrate("accounts", "catalog", work=lambda: rebuild(apps.get_model("catalog.Category"), "name"))
    migrate()
    assert Capture.objects.get().gaps == 0
    assert missing() == set()


def test_syncs_own_migrations_may_rebuild_its_tables() -> None:
    migrate("strangler_sync", work=lambda: rebuild(apps.get_model("strangler_sync.Mark"), "reason"))
    made = order()
    assert gen(made) == 1


def test_the_services_own_tables_as_well(both: Any) -> None:
    with as_extracted(), replaced(OWN):
        migrate("own_store", using="own", work=lambda: rebuild(OwnOrder, "remark", connections["own"]))
    assert missing(OWN) == set()


def test_a_migrate_with_nothing_to_do_touches_nothing() -> None:
    call_command("migrate", verbosity=0)
    assert Capture.objects.get().gaps == 0


def test_where_buckets_have_changed_hands_it_is_refused() -> None:
    """The triggers are fences there, and nothing makes up for a write that one of them has not seen."""
    made = order()
    become(LEGACY, 7, State.REPLICA, 2)
    with pytest.raises(SyncError, match="Bring them home first"):
        migrate("orders")
    assert all(one.works for one in install.status(LEGACY))
    migrate("auth")  # what touches none of the tables is nobody's business
    assert gen(made) == 1
