"""``manage.py sagas`` and what looks after the log."""

import json
import uuid
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from router.sagas import checks, types
from router.sagas.api import Pivot, SagaMisused, SagaType, Step, declare
from router.sagas.models import Saga
from router.sagas.retention import purge
from tests.router.sagas.shelf import Shelf

NOBODY = str(uuid.uuid4())
pytestmark = pytest.mark.django_db(transaction=True)


def sagas(*args: str) -> str:
    out = StringIO()
    call_command("sagas", *args, stdout=out)
    return out.getvalue()


@pytest.fixture
def stuck(shelf: Shelf, settings: Any) -> Saga:
    """Return a saga that waits for a person."""
    settings.STRANGLER_SAGAS = {"MAX_TRIES": 1}
    shelf.fails = {"confirm"}
    shelf.buy()
    shelf.fails = set()
    return Saga.objects.get()


def test_nothing_is_open(shelf: Shelf) -> None:
    shelf.buy()
    assert (sagas("list"), sagas("list", "--stuck")) == ("No saga is open.\n", "No saga is stuck.\n")
    assert json.loads(sagas("list", "--json")) == []
    assert len(json.loads(sagas("list", "--all", "--json"))) == 1


def test_the_table_and_the_json_say_the_same(stuck: Saga) -> None:
    heads, line = sagas("list").splitlines()
    assert heads.split() == ["id", "type", "bucket", "state", "step", "tries", "since", "error"]
    assert line.split()[:4] == [str(stuck.pk), "test.place", str(stuck.bucket), "stuck"]
    (found,) = json.loads(sagas("list", "--stuck", "--json"))
    assert (found["id"], found["state"], found["error"]) == (str(stuck.pk), "committed", stuck.error)


def test_one_is_shown_with_its_steps(stuck: Saga) -> None:
    text = sagas("show", str(stuck.pk))
    assert "reserve done  {'pieces': 1}" in text
    shown = json.loads(sagas("show", str(stuck.pk), "--json"))
    assert [each["step"] for each in shown["outcomes"]] == ["look", "reserve", "create"]


def test_resuming_by_hand(stuck: Saga) -> None:
    assert str(stuck.pk) in sagas("resume", "--stuck", "--dry-run")
    assert sagas("resume", "--dry-run") == "Nothing would be resumed.\n"
    assert sagas("resume") == "0 sagas found, 0 finished, 0 left for later\n"
    assert sagas("resume", str(stuck.pk)) == "1 sagas found, 1 finished, 0 left for later\n"
    assert sagas("resume", "--stuck") == "0 sagas found, 0 finished, 0 left for later\n"


def test_what_is_left_is_a_failure(stuck: Saga, shelf: Shelf) -> None:
    shelf.fails = {"confirm"}
    with pytest.raises(CommandError, match="1 sagas are not finished") as error:
        sagas("resume", "--stuck")
    assert error.value.returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [("show", NOBODY), ("resume", NOBODY), ("resume", NOBODY, "--stuck"), ("purge", "--days", "-1")],
)
def test_usage(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as error:
        sagas(*arguments)
    assert error.value.returncode == 2


def test_old_ones_are_forgotten_and_open_ones_never(shelf: Shelf) -> None:
    for number in range(3):
        shelf.fails = {"confirm"} if number == 2 else set()
        shelf.buy()
    Saga.objects.exclude(finished_at=None).update(finished_at=timezone.now() - timedelta(days=8))
    assert sagas("purge", "--dry-run") == "2 sagas finished more than 7 days ago would be forgotten\n"
    assert sagas("purge", "--days", "9") == "0 sagas finished more than 9 days ago forgotten\n"
    assert (purge(), purge(), Saga.objects.count()) == (2, 0, 1)


# --- declarations -------------------------------------------------------------------------------------------


def nothing(context: Any) -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ((Pivot(name="p"),), "no step of its own"),
        ((Step(name="a", action=nothing), Pivot(name="p")), "cannot undo 'a'"),
        ((Pivot(name="p"), Step(name="a", action=nothing, compensation=nothing)), "never undo 'a'"),
        ((Step(name="a", action=nothing, compensation=nothing),), "never undo 'a'"),
        ((Pivot(name="p"), Pivot(name="q"), Step(name="a", action=nothing)), "two points"),
        ((Step(name="a", action=nothing), Step(name="a", action=nothing)), "two steps named 'a'"),
    ],
)
def test_types_that_cannot_work(shelf: Shelf, steps: Any, problem: str) -> None:
    assert checks.check_types() == []
    declare(SagaType(name="test.wrong", service="orders", steps=steps))
    (error,) = checks.check_types()
    assert (error.id, problem in error.msg) == ("strangler_sagas.E002", True)


def test_a_name_is_declared_once(shelf: Shelf) -> None:
    kind = SagaType(name="test.twice", service="orders", steps=(Step(name="a", action=nothing),))
    assert declare(kind) is declare(kind) is types.find("test.twice")
    with pytest.raises(SagaMisused):
        declare(SagaType(name="test.twice", service="orders", steps=(Step(name="b", action=nothing),)))


@pytest.mark.parametrize("given", [{"LEASE": 1}, {"LEASE_SECONDS": 0}, {"MAX_TRIES": "3"}, {"MAX_TRIES": True}])
def test_settings_that_mean_nothing(settings: Any, given: Any) -> None:
    assert checks.check_settings() == []
    settings.STRANGLER_SAGAS = given
    assert [error.id for error in checks.check_settings()] == ["strangler_sagas.E001"]
