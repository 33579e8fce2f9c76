"""Processes are killed at every moment of a saga; another one goes on, and it ends in one of two ways."""

import sys
from datetime import timedelta

import pytest
from django.utils import timezone

from legacy_shop.catalog.models import Category
from router.sagas.api import resume_due
from router.sagas.models import Saga
from tests.processes import database_url, start_process
from tests.router.sagas.shelf import Shelf

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]
BEFORE = ("begun", "before look", "noted look", "before reserve", "after reserve", "noted reserve", "crossing")
AFTER = ("crossed", "before confirm", "after confirm")
UNDOING = ("turned back", "before undoing reserve", "after undoing reserve", "noted undoing reserve")
RETURNING = ("enlisted", "before restock", "after restock")


def kill(shelf: Shelf, what: str, point: str) -> None:
    """Run a saga in a process that kills itself."""
    environment = {"DJANGO_SETTINGS_MODULE": "tests.router.sagas.settings", "SHOP_DATABASE_URL": database_url()}
    command = [sys.executable, "-m", "tests.router.sagas.dying", str(shelf.folder), what, point]
    with start_process(command, environment) as process:
        assert process.process.wait(30) == -9, process.output()


def resumed() -> Saga:
    """Let the dead process's lease run out, and go on."""
    Saga.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert resume_due().left == 0
    assert resume_due().found == 0
    return Saga.objects.get()


@pytest.mark.parametrize("point", BEFORE)
def test_before_the_point_of_no_return(shelf: Shelf, point: str) -> None:
    kill(shelf, "buy", point)
    saga = resumed()
    assert (saga.state, Category.objects.count()) == ("compensated", 0)
    assert shelf.state(saga.pk) == ("" if point in {"begun", "before look"} else "released")


@pytest.mark.parametrize("point", AFTER)
def test_after_it(shelf: Shelf, point: str) -> None:
    kill(shelf, "buy", point)
    saga = resumed()
    assert (saga.state, Category.objects.get().slug) == ("done", str(saga.pk))
    assert shelf.state(saga.pk) == "confirmed"


@pytest.mark.parametrize("point", UNDOING)
def test_while_it_is_undone(shelf: Shelf, point: str) -> None:
    kill(shelf, "fail", point)
    saga = resumed()
    assert (saga.state, Category.objects.count(), shelf.state(saga.pk)) == ("compensated", 0, "released")


@pytest.mark.parametrize("point", RETURNING)
def test_what_was_enlisted(shelf: Shelf, point: str) -> None:
    kill(shelf, "return", point)
    saga = resumed()
    assert (saga.state, shelf.state(saga.pk)) == ("done", "restocked")


def test_what_was_not_committed_was_never_enlisted(shelf: Shelf) -> None:
    kill(shelf, "return", "enlisting")
    assert (Saga.objects.count(), shelf.calls()) == (0, [])
