"""What only real transactions show: locks that make others wait, and one snapshot for all that is read."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction

from legacy_shop.orders.models import Order, OrderLine
from migrations_plan.sync import apply, changes, database, ownership
from migrations_plan.sync.buckets import BUCKETS
from migrations_plan.sync.capture import upkeep
from migrations_plan.sync.documents import Form
from migrations_plan.sync.messages import BucketState, State
from migrations_plan.sync.models import Mark
from migrations_plan.sync.sides import Direction
from tests.migrations_plan.sync.houses import LEGACY, OWN, applied, order, read, settle
from tests.own.rows import OwnOrder

pytestmark = pytest.mark.django_db(databases=["default", "own"], transaction=True)

SECONDS = 20.0


@pytest.fixture(autouse=True)
def no_triggers_left(both: Direction) -> Iterator[None]:
    """Take the triggers away again: these tests commit."""
    yield
    for side in (LEGACY, OWN):
        upkeep.stop(side)


@contextmanager
def in_thread(work: Callable[[], Any]) -> Iterator[list[Any]]:
    """Run something on connections of its own; what it returns or raises is in the list after the block."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work())
        except Exception as error:
            outcome.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield outcome
    finally:
        thread.join(SECONDS)
        assert not thread.is_alive()


class Gate:
    """Holds a thread at a place until it is let go."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def hold(self) -> None:
        self.reached.set()
        assert self.open.wait(SECONDS)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Hold the first apply after it has looked at states and versions, before it writes."""
    gate, write = Gate(), apply._write

    def writing(*args: Any) -> Any:
        if threading.current_thread() is not threading.main_thread() and not gate.reached.is_set():
            gate.hold()
        return write(*args)

    monkeypatch.setattr(apply, "_write", writing)
    return gate


def twice_changed(both: Direction) -> tuple[Order, Any, Any]:
    made = order(note="first")
    settle(both)
    Order.objects.update(note="second")
    (second,) = read(both)
    Order.objects.update(note="third")
    (third,) = read(both)
    return made, second, third


@pytest.mark.postgres
class TestApplying:
    def test_a_newer_version_waits_for_an_older_one(self, both: Direction, held: Gate) -> None:
        made, second, third = twice_changed(both)
        with in_thread(lambda: both.target.apply("orders", (second,))):
            assert held.reached.wait(SECONDS)
            with in_thread(lambda: both.target.apply("orders", (third,))) as newer:
                self.wait_for_a_lock(newer)
                held.open.set()
        assert OwnOrder.objects.using("own").get(pk=made.pk).remark == "third"
        assert applied(made.pk) == third.gen

    def test_without_the_row_lock_the_older_one_wins(
        self, both: Direction, held: Gate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made, second, third = twice_changed(both)
        monkeypatch.setattr(apply, "_locked_versions", lambda aggregate, documents: {str(made.pk): 1})
        with in_thread(lambda: both.target.apply("orders", (second,))):
            assert held.reached.wait(SECONDS)
            both.target.apply("orders", (third,))
            held.open.set()
        assert OwnOrder.objects.using("own").get(pk=made.pk).remark == "second"

    def test_ownership_does_not_change_while_something_is_applied(self, both: Direction, held: Gate) -> None:
        bucket, second = self.begun(both)
        with in_thread(lambda: both.target.apply("orders", (second,))):
            assert held.reached.wait(SECONDS)
            with pytest.raises(OperationalError):
                ownership.change(OWN, bucket, (State.REPLICA, 1), (State.OWNER, 2))
            held.open.set()
        assert ownership.change(OWN, bucket, (State.REPLICA, 1), (State.OWNER, 2))

    def test_without_the_lock_an_open_apply_straddles_the_commit_point(
        self, both: Direction, held: Gate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bucket, second = self.begun(both)

        def unlocked(aggregate: Any, buckets: Any) -> dict[int, BucketState]:
            return {one.bucket: one for one in ownership.states(aggregate)}

        monkeypatch.setattr(database, "lock_shared", lambda *args: None)
        monkeypatch.setattr(ownership, "locked_states", unlocked)
        with in_thread(lambda: both.target.apply("orders", (second,))):
            assert held.reached.wait(SECONDS)
            assert ownership.change(OWN, bucket, (State.REPLICA, 1), (State.OWNER, 2))
            OwnOrder.objects.using("own").update(remark="the new owner's")
            held.open.set()
        assert OwnOrder.objects.using("own").get().remark == "second"  # what it had acknowledged is gone

    def test_changing_several_buckets_does_not_deadlock_with_applying(self, both: Direction) -> None:
        for _ in range(20):
            order()
        documents = read(both)

        def back_and_forth() -> int:
            done = 0
            for bucket in range(BUCKETS):
                done += ownership.change(OWN, bucket, (State.REPLICA, 1), (State.REPLICA, 1))
            return done

        with (
            in_thread(back_and_forth) as changed,
            in_thread(lambda: [both.target.apply("orders", documents) for _ in range(20)]) as results,
        ):
            pass
        assert changed == [BUCKETS]
        assert isinstance(results[0], list)

    def begun(self, both: Direction) -> tuple[int, Any]:
        order(note="first")
        settle(both)
        Order.objects.update(note="second")
        (second,) = read(both)
        return Mark.objects.get().bucket, second

    def wait_for_a_lock(self, running: list[Any]) -> None:
        """Wait until somebody waits for a lock in the service's database."""
        for _ in range(200):
            with connections["own"].cursor() as cursor:
                cursor.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND wait_event_type = 'Lock'"
                )
                if cursor.fetchone()[0]:
                    return
            assert not running, "it did not wait for anybody"
            threading.Event().wait(0.02)
        raise AssertionError("nobody waited for a lock")


class TestOneSnapshot:
    """An order changes between the reading of its lines and that of its own row."""

    def interrupted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        of_parents = Form._of_parents
        seen: list[bool] = []

        def reading(form: Form, *args: Any) -> Any:
            found = of_parents(form, *args)
            if form.aggregate is LEGACY and not seen:
                seen.append(True)
                with in_thread(self.change):
                    pass
            return found

        monkeypatch.setattr(Form, "_of_parents", reading)

    def change(self) -> None:
        with transaction.atomic():
            Order.objects.update(note="without lines")
            OrderLine.objects.all().delete()

    def test_a_document_is_of_one_moment(self, both: Direction, monkeypatch: pytest.MonkeyPatch) -> None:
        order(lines=2, note="with lines")
        self.interrupted(monkeypatch)
        (document,) = read(both)
        assert document.data is not None
        assert (document.data["note"], len(document.data["lines"])) == ("with lines", 2)

    def test_without_it_a_document_is_torn(self, both: Direction, monkeypatch: pytest.MonkeyPatch) -> None:
        order(lines=2, note="with lines")
        monkeypatch.setattr(changes, "snapshot", lambda alias: nullcontext())
        self.interrupted(monkeypatch)
        (document,) = read(both)
        assert document.data is not None
        assert (document.data["note"], len(document.data["lines"])) in {("with lines", 0), ("without lines", 2)}


@pytest.mark.postgres
def test_acknowledging_waits_for_nobody(both: Direction) -> None:
    """A customer's transaction that holds a mark must not end in a deadlock with the relay."""
    made = order()
    documents = read(both)
    both.target.apply("orders", documents)
    gate = Gate()

    def write() -> None:
        with transaction.atomic():
            Order.objects.update(note="x")
            gate.hold()

    with in_thread(write):
        assert gate.reached.wait(SECONDS)
        changes.acknowledge(LEGACY, [changes.Sent(key=str(made.pk), gen=1)], ())
        gate.open.set()
    assert (Mark.objects.get().gen, Mark.objects.get().acked) == (2, 0)
    settle(both)
    assert OwnOrder.objects.using("own").get().remark == "x"
