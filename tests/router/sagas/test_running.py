"""A saga ends in one of two ways, whatever fails, and whoever has given it up for dead."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, transaction
from django.utils import timezone

from legacy_shop.catalog.models import Category
from router.buckets import bucket
from router.sagas import log
from router.sagas.api import (
    SagaInTransaction,
    SagaLost,
    SagaMisused,
    UnknownSaga,
    enlist,
    open_by_bucket,
    resume_by_hand,
    resume_due,
    running,
)
from router.sagas.models import Saga
from tests.router.sagas.shelf import KEY, Refusal, Shelf

pytestmark = pytest.mark.django_db(transaction=True)
PAST = timedelta(hours=1)


def overdue(**changes: Any) -> None:
    """Let every lease have run out, and every wait be over."""
    Saga.objects.update(lease_until=timezone.now() - PAST, next_at=timezone.now() - PAST, **changes)


def ended() -> list[tuple[str, bool]]:
    """Return how sagas have ended, and whether there is an order of each."""
    return [(row.state, Category.objects.filter(slug=str(row.pk)).exists()) for row in Saga.objects.all()]


# --- the two ends -------------------------------------------------------------------------------------------


def test_it_is_done(shelf: Shelf) -> None:
    run = shelf.buy()
    assert (ended(), shelf.state(run.id), shelf.calls()) == ([("done", True)], "confirmed", ["reserve", "confirm"])
    outcomes = [(each.step, each.undone, each.result) for each in log.outcomes(run.id)]
    assert outcomes == [
        ("look", False, None),
        ("reserve", False, {"pieces": 1}),
        ("create", False, None),
        ("confirm", False, None),
    ]
    assert dict(run.results)["reserve"] == {"pieces": 1}


def test_it_is_undone_when_the_transaction_is_rolled_back(shelf: Shelf) -> None:
    with pytest.raises(ValueError, match="no"):
        shelf.buy(fail=ValueError("no"))
    assert (ended(), shelf.calls()) == ([("compensated", False)], ["reserve", "reserve:undo"])


def test_it_is_undone_when_the_block_never_passes_the_point(shelf: Shelf) -> None:
    with running(shelf.place, key=KEY, data={}):
        pass
    assert (ended(), shelf.calls()) == ([("compensated", False)], ["reserve", "reserve:undo"])


def test_what_gave_no_answer_is_undone_too(shelf: Shelf) -> None:
    shelf.fails = {"reserve"}
    with pytest.raises(OSError, match="reserve"):
        shelf.buy()
    assert (ended(), shelf.calls()) == ([("compensated", False)], ["reserve", "reserve:undo"])


def test_what_refused_for_certain_is_not_undone(shelf: Shelf) -> None:
    shelf.empty = True
    with pytest.raises(Refusal):
        shelf.buy()
    assert (ended(), shelf.calls()) == ([("compensated", False)], [])


def test_what_fails_before_anything_was_done_needs_no_call(shelf: Shelf) -> None:
    shelf.fails = {"look"}
    with pytest.raises(OSError, match="look"):
        shelf.buy()
    assert (ended(), shelf.calls()) == ([("compensated", False)], [])


def test_past_the_point_it_only_goes_forward(shelf: Shelf) -> None:
    shelf.fails = {"confirm"}
    run = shelf.buy()
    assert ended() == [("committed", True)]
    overdue()
    assert (resume_due().left, ended()) == (1, [("committed", True)])
    shelf.fails = set()
    overdue()
    assert (resume_due().finished, ended(), shelf.state(run.id)) == (1, [("done", True)], "confirmed")


def test_an_error_after_the_commit_leaves_the_order_and_does_the_rest(shelf: Shelf) -> None:
    def fail_late() -> None:
        with running(shelf.place, key=KEY, data={}) as run:
            with transaction.atomic():
                Category.objects.create(name="order", slug=str(run.id))
                run.cross()
            raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        fail_late()
    assert (ended(), shelf.calls()) == ([("done", True)], ["reserve", "confirm"])


@pytest.mark.parametrize("broken", ["look", "fail"])
def test_a_database_that_fails_after_the_commit_is_no_error_of_the_callers(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """What the saga is about is there; whoever resumes it does the rest."""

    def down(*args: Any) -> Any:
        raise OperationalError("down")

    shelf.fails = {"confirm"}
    with monkeypatch.context() as patched:
        patched.setattr(log, broken, down)
        shelf.buy()
    assert ended() == [("committed", True)]
    shelf.fails = set()
    overdue()
    assert (resume_due().finished, ended()) == (1, [("done", True)])


def test_undoing_goes_on_until_it_is_done(shelf: Shelf) -> None:
    shelf.fails = {"release"}
    with pytest.raises(ValueError, match="no"):
        shelf.buy(fail=ValueError("no"))
    assert ended() == [("compensating", False)]
    shelf.fails = set()
    overdue()
    assert (resume_due().finished, ended()) == (1, [("compensated", False)])


# --- who has lost it ----------------------------------------------------------------------------------------


def test_one_that_is_being_undone_can_never_pass_the_point(shelf: Shelf) -> None:
    """Its process was given up for dead, and was only slow."""

    def place_slowly() -> None:
        with running(shelf.place, key=KEY, data={}) as run:
            overdue()
            assert resume_due().finished == 1
            with transaction.atomic():
                Category.objects.create(name="order", slug=str(run.id))
                run.cross()

    with pytest.raises(SagaLost):
        place_slowly()
    assert (ended(), shelf.state(Saga.objects.get().pk)) == ([("compensated", False)], "released")


def test_one_that_has_passed_the_point_can_never_be_undone(shelf: Shelf) -> None:
    with running(shelf.place, key=KEY, data={}) as run:
        with transaction.atomic():
            Category.objects.create(name="order", slug=str(run.id))
            run.cross()
        with pytest.raises(SagaLost):
            run.turn_back()
    assert ended() == [("done", True)]


def test_a_slow_step_is_not_noted_by_who_has_lost_the_saga(shelf: Shelf) -> None:
    run = shelf.buy()
    Saga.objects.update(state="committed", finished_at=None, step=3)
    held = log.look(run.id, run.held.token)
    assert held is not None
    overdue()
    assert log.take(run.id) is not None
    with pytest.raises(SagaLost):
        log.advance(held, "confirm", None, last=True)


def test_who_has_lost_it_after_the_point_leaves_the_rest_to_others(shelf: Shelf) -> None:
    with running(shelf.place, key=KEY, data={}) as run:
        with transaction.atomic():
            run.cross()
        overdue()
        assert log.take(run.id) is not None
    assert ([row.state for row in Saga.objects.all()], shelf.calls()) == (["committed"], ["reserve"])


def test_a_lease_is_respected(shelf: Shelf) -> None:
    shelf.fails = {"confirm"}
    run = shelf.buy()
    Saga.objects.update(next_at=timezone.now() - PAST, lease_until=timezone.now() + PAST)
    assert (resume_due().found, log.take(run.id), resume_by_hand([run.id]).finished) == (0, None, 0)


def test_of_two_that_take_it_over_one_gets_it(shelf: Shelf) -> None:
    shelf.fails = {"confirm"}
    run = shelf.buy()
    overdue()
    assert [log.take(run.id) is None for _ in range(2)] == [False, True]


def test_what_failed_waits_longer_each_time(shelf: Shelf) -> None:
    shelf.fails = {"confirm"}
    shelf.buy()
    waits = []
    for _ in range(3):
        row = Saga.objects.get()
        waits.append(round((row.next_at - row.lease_until).total_seconds()))
        overdue()
        resume_due()
    assert (waits, resume_due().found) == ([1, 2, 4], 0)


# --- stuck ones ---------------------------------------------------------------------------------------------


def test_after_too_many_tries_it_waits_for_a_person(shelf: Shelf, settings: Any) -> None:
    settings.STRANGLER_SAGAS = {"MAX_TRIES": 2}
    shelf.fails = {"confirm"}
    run = shelf.buy()
    overdue()
    resume_due()
    overdue()
    assert (resume_due().found, [row.pk for row in log.listed(stuck=True)]) == (0, [run.id])
    assert log.find(run.id).error == "OSError: confirm gave no answer"
    assert open_by_bucket("orders") == {bucket("orders", KEY): 1}
    shelf.fails = set()
    assert (resume_by_hand([run.id]).finished, ended()) == (1, [("done", True)])


def test_a_type_that_this_program_does_not_know_is_left(shelf: Shelf) -> None:
    shelf.fails = {"confirm"}
    shelf.buy()
    overdue(name="test.unknown")
    assert resume_due().left == 1
    assert "knows no saga 'test.unknown'" in Saga.objects.get().error


def test_there_is_no_such_saga(shelf: Shelf) -> None:
    with pytest.raises(UnknownSaga):
        resume_by_hand([uuid.uuid4()])


# --- enlisted -----------------------------------------------------------------------------------------------


def test_what_is_enlisted_is_done_after_the_commit(shelf: Shelf) -> None:
    shelf.return_all()
    assert ([row.state for row in Saga.objects.all()], shelf.calls()) == (["done"], ["restock"])


def test_what_is_rolled_back_was_never_enlisted(shelf: Shelf) -> None:
    with transaction.atomic():
        enlist(shelf.give_up, key=KEY, data={})
        transaction.set_rollback(True)
    assert (Saga.objects.count(), shelf.calls()) == (0, [])


def test_what_is_enlisted_and_fails_is_resumed(shelf: Shelf) -> None:
    shelf.fails = {"restock"}
    shelf.return_all()
    shelf.fails = set()
    overdue()
    assert (resume_due().finished, [row.state for row in Saga.objects.all()]) == (1, ["done"])


# --- transactions -------------------------------------------------------------------------------------------


def test_no_call_is_made_in_a_transaction(shelf: Shelf) -> None:
    with transaction.atomic(), pytest.raises(SagaInTransaction), running(shelf.place, key=KEY, data={}):
        pass
    assert (Saga.objects.count(), shelf.calls()) == (0, [])
    shelf.fails = {"confirm"}
    shelf.buy()
    shelf.fails = set()
    overdue()
    with transaction.atomic():
        resume_due()
    assert (ended(), shelf.calls()) == ([("committed", True)], ["reserve", "confirm"])
    assert "SagaInTransaction" in Saga.objects.get().error


def test_the_point_is_passed_in_a_transaction_only(shelf: Shelf) -> None:
    with pytest.raises(SagaInTransaction), running(shelf.place, key=KEY, data={}) as run:
        run.cross()
    assert ended() == [("compensated", False)]
    with pytest.raises(SagaInTransaction):
        enlist(shelf.give_up, key=KEY, data={})


def test_each_way_has_its_type(shelf: Shelf) -> None:
    with pytest.raises(SagaMisused), running(shelf.give_up, key=KEY, data={}):
        pass
    with transaction.atomic(), pytest.raises(SagaMisused):
        enlist(shelf.place, key=KEY, data={})


# --- counting -----------------------------------------------------------------------------------------------


def test_open_ones_are_counted_by_bucket(shelf: Shelf) -> None:
    shelf.fails = {"confirm"}
    for key in (KEY, KEY, 8):
        with running(shelf.place, key=key, data={}) as run, transaction.atomic():
            run.cross()
    buckets = {bucket("orders", KEY): 2, bucket("orders", 8): 1}
    assert open_by_bucket("orders") == buckets
    assert open_by_bucket("orders", [bucket("orders", 8)]) == {bucket("orders", 8): 1}
    assert open_by_bucket("payments") == {}
    shelf.fails = set()
    overdue()
    resume_due()
    assert open_by_bucket("orders") == {}
