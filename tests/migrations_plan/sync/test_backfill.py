"""Existing keys are marked in chunks: each once, none twice, whatever happens in between."""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings as of_tests

from legacy_shop.orders.models import Order
from migrations_plan.sync import backfill, database
from migrations_plan.sync.buckets import bucket
from migrations_plan.sync.capture import upkeep
from migrations_plan.sync.errors import NotTheOwner, SyncError
from migrations_plan.sync.messages import State
from migrations_plan.sync.models import Backfill, Mark, Ownership
from tests.migrations_plan.sync.houses import LEGACY, become, customer, marks, order, unsaved

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("captured")]

Tune = Callable[..., None]


@pytest.fixture
def tune(settings: Any) -> Tune:
    """Return a function that changes sync's settings."""

    def change(**values: Any) -> None:
        settings.STRANGLER_SYNC = {**of_tests.STRANGLER_SYNC, **values}

    return change


def unseen(count: int) -> list[Order]:
    """Make orders that nobody has marked, as they were there before capture was."""
    owner = customer()
    with database.capture_suppressed("default"):
        return Order.objects.bulk_create(unsaved(owner) for _ in range(count))


def run(waits: list[float] | None = None) -> list[backfill.Pass]:
    """Run it to its end; return what each chunk said."""
    passes: list[backfill.Pass] = []
    waits = [] if waits is None else waits
    backfill.run(LEGACY, progress=passes.append, wait=waits.append)
    return passes


def backfilled() -> int:
    return Ownership.objects.filter(backfilled=True).count()


def test_every_key_in_chunks_once(tune: Tune) -> None:
    tune(BACKFILL_CHUNK=4)
    made = unseen(10)
    backfill.start(LEGACY)
    assert [one.marked for one in run()] == [4, 8, 10, 10]
    assert marks() == {str(one.pk): (1, 0) for one in made}
    assert backfilled() == 100
    assert backfill.standing(LEGACY).finished_at is not None  # type: ignore[union-attr]


def test_keys_are_ordered_as_numbers(tune: Tune) -> None:
    """As texts, 10 is before 9; a chunk that ended at 9 would then never come to 10."""
    tune(BACKFILL_CHUNK=1)
    owner = customer()
    with database.capture_suppressed("default"):
        Order.objects.bulk_create(unsaved(owner, id=key) for key in (9, 10, 100, 99))
    backfill.start(LEGACY)
    run()
    assert set(marks()) == {"9", "10", "99", "100"}


def test_a_key_that_has_a_mark_is_left_alone() -> None:
    made = order()
    Order.objects.update(note="x")
    Mark.objects.update(acked=1, retry_at="2030-01-01T00:00Z", tries=3)
    unseen(1)
    backfill.start(LEGACY)
    run()
    assert marks()[str(made.pk)] == (2, 1)
    assert Mark.objects.get(key=str(made.pk)).tries == 3


def test_what_appears_and_goes_meanwhile(tune: Tune) -> None:
    tune(BACKFILL_CHUNK=2)
    made = unseen(4)
    marked, stays, changed, unmarked = (str(one.pk) for one in made)
    backfill.start(LEGACY)
    backfill.work(LEGACY)
    made[0].delete()
    Order.objects.filter(pk=changed).update(note="x")
    made[3].delete()
    late = order()
    run()
    assert marks() == {marked: (2, 0), stays: (1, 0), changed: (1, 0), unmarked: (1, 0), str(late.pk): (1, 0)}
    assert set(Mark.objects.filter(deleted=True).values_list("key", flat=True)) == {marked, unmarked}


def test_a_crash_in_a_chunk_loses_the_chunk_and_nothing_else(tune: Tune, monkeypatch: pytest.MonkeyPatch) -> None:
    tune(BACKFILL_CHUNK=3)
    made = unseen(8)
    backfill.start(LEGACY)
    backfill.work(LEGACY)
    with monkeypatch.context() as patch:
        patch.setattr(Backfill, "save", crash)  # the marks are inserted by then
        with pytest.raises(ConnectionError):
            backfill.work(LEGACY)
    assert backfill.standing(LEGACY).marked == 3  # type: ignore[union-attr]
    assert len(marks()) == 3
    backfill.start(LEGACY)  # as a program that is started again does
    assert run()[-1].marked == 8
    assert marks() == {str(one.pk): (1, 0) for one in made}


def crash(*args: Any, **kwargs: Any) -> None:
    raise ConnectionError


def test_a_crash_before_the_end_leaves_it_unfinished(monkeypatch: pytest.MonkeyPatch) -> None:
    unseen(2)
    backfill.start(LEGACY)
    with monkeypatch.context() as patch:
        patch.setattr(backfill, "_finish", crash)
        with pytest.raises(ConnectionError):
            run()
    assert backfilled() == 0
    run()
    assert backfilled() == 100


def test_after_the_end_nothing_more_is_done() -> None:
    unseen(1)
    backfill.start(LEGACY)
    run()
    Mark.objects.update(acked=1)
    backfill.start(LEGACY)
    (last,) = run()
    assert last.finished
    assert set(marks().values()) == {(1, 1)}


def test_anew_marks_everything_again_and_what_is_gone() -> None:
    made, gone = order(), order()
    key = str(gone.pk)
    database.check_references_at_once("default")
    with database.capture_suppressed("default"):
        gone.delete()
        other = unseen(1)[0]
    Mark.objects.update(acked=1)
    backfill.start(LEGACY)
    run()
    assert marks() == {str(made.pk): (1, 1), key: (1, 1), str(other.pk): (1, 0)}
    backfill.start(LEGACY, anew=True)
    assert backfilled() == 0
    run()
    assert marks() == {str(made.pk): (2, 1), key: (2, 1), str(other.pk): (2, 0)}
    assert Mark.objects.get(key=key).deleted
    assert backfilled() == 100


def test_a_start_over_in_the_middle_begins_at_the_first_key(tune: Tune) -> None:
    tune(BACKFILL_CHUNK=2)
    unseen(3)
    backfill.start(LEGACY)
    backfill.work(LEGACY)
    backfill.start(LEGACY, anew=True)
    assert backfill.standing(LEGACY).marked == 0  # type: ignore[union-attr]
    run()
    assert sorted(gen for gen, _ in marks().values()) == [1, 2, 2]


def test_without_triggers_it_starts_from_the_beginning_the_next_time() -> None:
    unseen(1)
    backfill.start(LEGACY)
    run()
    upkeep.stop(LEGACY)
    assert (backfill.standing(LEGACY), backfilled()) == (None, 0)


def test_it_waits_while_the_relay_is_behind(tune: Tune) -> None:
    tune(BACKFILL_QUEUE=3, BACKFILL_CHUNK=2)
    unseen(6)
    for _ in range(3):
        order()
    backfill.start(LEGACY)
    done = backfill.work(LEGACY)
    assert (done.throttled, done.marked) == ("3 or more changes wait to be sent", 0)

    class Relay(list):  # type: ignore[type-arg]
        def append(self, seconds: float) -> None:
            super().append(seconds)
            Mark.objects.update(acked=1)

    waits = Relay()
    assert run(waits)[-1].marked == 9
    assert len(waits) >= 2


@pytest.mark.parametrize(
    ("size", "took", "after"),
    [
        (2000, 0.3, 1000),
        (1000, 9.0, 500),
        (60, 0.3, 50),
        (50, 9.0, 50),
        (1000, 0.25, 1251),
        (1800, 0.1, 2000),
        (2000, 0.1, 2000),
    ],
)
def test_chunks_follow_the_latency(size: int, took: float, after: int) -> None:
    assert backfill.next_chunk(size, took, target=0.25, most=2000) == after


def test_a_small_chunk_is_not_made_larger_by_a_slow_database() -> None:
    assert backfill.next_chunk(2, took=9.0, target=0.25, most=2) == 2


def test_a_slow_chunk_makes_the_next_one_smaller(tune: Tune, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(backfill, "monotonic", lambda: next(clock))  # a second a chunk
    tune(BACKFILL_CHUNK=200)
    unseen(1)
    backfill.start(LEGACY)
    assert [one.chunk for one in run()] == [100, 50]


class TestOwnership:
    def test_a_replica_has_nothing_to_backfill(self) -> None:
        unseen(1)
        Ownership.objects.update(state=State.REPLICA)
        backfill.start(LEGACY)
        with pytest.raises(NotTheOwner, match="owns no bucket of orders"):
            backfill.work(LEGACY)
        assert marks() == {}

    def test_only_what_this_side_owns(self) -> None:
        owners = {}
        while len(owners) < 3:
            owner = customer()
            owners[bucket("orders", owner.pk)] = owner
        with database.capture_suppressed("default"):
            made = [order(owner) for owner in owners.values()]
        for of_another in list(owners)[:2]:
            become(LEGACY, of_another, State.REPLICA, 2)
        backfill.start(LEGACY)
        run()
        assert set(marks()) == {str(made[2].pk)}
        assert backfilled() == 98

    def test_it_has_to_be_begun(self) -> None:
        with pytest.raises(SyncError, match="`sync backfill orders` begins one"):
            backfill.work(LEGACY)
