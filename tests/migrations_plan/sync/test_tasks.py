"""Tasks are hints: lost, late or twice, they change nothing but the delay. No broker, no worker."""

import logging
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import Task, current_app
from django.conf import settings as of_tests
from django.db import connection
from django.utils import timezone
from kombu.exceptions import OperationalError

from legacy_shop.orders.models import Order
from migrations_plan.sync import backfill, database, lag, leases, operate, tasks, verify
from migrations_plan.sync.capture import install, upkeep
from migrations_plan.sync.errors import Busy, PeerRefused, PeerUnavailable
from migrations_plan.sync.local import LocalSide
from migrations_plan.sync.models import Capture, Lease
from migrations_plan.sync.sides import Direction, directions
from tests.migrations_plan.sync.houses import LEGACY, OWN, contents, marks, order

pytestmark = pytest.mark.django_db(databases=["default", "own"])

Hint = tuple[str, tuple[Any, ...]]
RELAYS: list[Hint] = [("strangler_sync.relay", ("orders", 0)), ("strangler_sync.relay", ("orders", 1))]
BACKFILL: Hint = ("strangler_sync.backfill", ("orders",))
VERIFY: Hint = ("strangler_sync.verify", ("orders",))


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let a task have one turn and wait for nothing; return for how long it would have waited."""
    waits: list[float] = []
    monkeypatch.setattr(tasks, "RELAY_SECONDS", 0.0)
    monkeypatch.setattr(tasks, "WORK_SECONDS", 0.0)
    monkeypatch.setattr(tasks, "pause", waits.append)
    return waits


@pytest.fixture
def hints(monkeypatch: pytest.MonkeyPatch) -> list[Hint]:
    """Return what is sent to the broker, which is not there."""
    sent: list[Hint] = []

    def apply_async(self: Any, args: tuple[Any, ...] = (), *, expires: float, **options: Any) -> None:
        assert expires == tasks.HINT_SECONDS
        sent.append((self.name, tuple(args)))

    monkeypatch.setattr(Task, "apply_async", apply_async)
    return sent


def play(hint: Hint) -> Any:
    """Do what a worker does with a hint."""
    name, args = hint
    return current_app.tasks[name](*args)


@pytest.fixture
def broken(joined: Direction, monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Return a function that has the other side answer everything with an error."""

    def fail(error: Exception) -> None:
        def answer(*args: Any, **kwargs: Any) -> Any:
            raise error

        for verb in ("apply", "changes", "digest", "ownership"):
            monkeypatch.setattr(joined.target, verb, answer)

    return fail


class TestSweep:
    def test_without_triggers_there_is_nothing_to_do(self, hints: list[Hint]) -> None:
        tasks.sweep()
        assert hints == []

    def test_without_a_peer_neither(self, captured: None, hints: list[Hint], settings: Any) -> None:
        settings.STRANGLER_SYNC = {"SIDE": "legacy"}
        tasks.sweep()
        assert hints == []

    def test_both_ways_are_relayed(self, captured: None, hints: list[Hint]) -> None:
        tasks.sweep()
        assert hints == RELAYS

    def test_a_backfill_goes_on_until_it_is_done(self, captured: None, hints: list[Hint]) -> None:
        operate.start_backfill("orders")
        tasks.sweep()
        assert hints == [*RELAYS, BACKFILL]
        hints.clear()
        backfill.run(LEGACY, progress=lambda done: None, wait=lambda seconds: None)
        tasks.sweep()
        assert hints == RELAYS

    def test_a_verification_goes_on_until_it_is_done(self, joined: Direction, hints: list[Hint]) -> None:
        operate.begin_verification("orders")
        tasks.sweep()
        assert hints == [*RELAYS, VERIFY]
        hints.clear()
        operate.run_verification("orders", lambda text: None)
        tasks.sweep()
        assert hints == RELAYS

    def test_a_trigger_that_is_gone_is_put_back(self, captured: None, hints: list[Hint]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(install.triggers(LEGACY)[0].drop[0])
        tasks.sweep()
        assert all(one.works for one in install.status(LEGACY))
        assert Capture.objects.get().gaps == 1
        assert hints == [*RELAYS, BACKFILL]

    def test_triggers_that_cannot_be_put_back_hold_up_nothing(
        self, captured: None, hints: list[Hint], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def mend(aggregate: Any) -> None:
            raise Busy("Somebody writes the table all the time.")

        monkeypatch.setattr(upkeep, "mend", mend)
        tasks.sweep()
        assert hints == RELAYS
        assert "orders: Somebody writes the table all the time." in caplog.text


DELIVERIES: dict[str, Callable[[list[Hint], random.Random], list[Hint]]] = {
    "once": lambda hints, dice: hints,
    "twice": lambda hints, dice: [*hints, *hints],
    "backwards": lambda hints, dice: hints[::-1],
    "hardly ever": lambda hints, dice: [hint for hint in hints if dice.random() < 0.3],
}


@pytest.mark.parametrize("delivered", DELIVERIES.values(), ids=list(DELIVERIES))
def test_however_hints_are_delivered_both_sides_become_equal(
    joined: Direction, hints: list[Hint], delivered: Callable[..., list[Hint]], settings: Any
) -> None:
    settings.STRANGLER_SYNC = {**of_tests.STRANGLER_SYNC, "BATCH_DOCUMENTS": 3, "BACKFILL_CHUNK": 2, "VERIFY_RANGE": 3}
    with database.capture_suppressed("default"):
        for _ in range(5):
            order(lines=1)
    operate.start_backfill("orders")
    dice = random.Random(7)
    for number in range(60):
        if number < 5:
            order(lines=1)
            Order.objects.update(note=f"{number}")
        if number == 20:
            operate.begin_verification("orders")
        hints.clear()
        tasks.sweep()
        for hint in delivered(list(hints), dice):
            play(hint)
        if number > 20 and operate.last_run("orders") is not None:
            break
    assert contents(LEGACY) == contents(OWN)
    assert all(gen == acked for gen, acked in marks().values())
    found = operate.last_run("orders")
    assert found is not None
    assert (found.clean, found.compared) == (True, 10)


class TestRelay:
    def test_its_answer_is_what_it_did(self, joined: Direction) -> None:
        order()
        assert tasks.relay("orders", 0) == "legacy->extracted: 1 applied"
        assert tasks.relay("orders", 1) == "extracted->legacy: nothing to send"
        assert not Lease.objects.exists()

    def test_one_at_a_time_each_way(self, joined: Direction) -> None:
        order()
        with leases.held("default", "relay orders 0", 10):
            assert "relay orders 0 is being done by" in tasks.relay("orders", 0)
            assert tasks.relay("orders", 1) == "extracted->legacy: nothing to send"
        assert list(marks().values()) == [(1, 0)]

    def test_one_that_is_taken_over_stops(self, joined: Direction, monkeypatch: pytest.MonkeyPatch) -> None:
        """It was silent for so long that its lease ran out, and another worker goes on."""
        order()
        changes = joined.source.changes

        def slowly(name: str, limit: int) -> Any:
            Lease.objects.update(holder="another", until=timezone.now() + timedelta(seconds=10))
            return changes(name, limit)

        monkeypatch.setattr(tasks, "RELAY_SECONDS", 60.0)
        monkeypatch.setattr(leases, "FRESH", 0.0)
        monkeypatch.setattr(joined.source, "changes", slowly)
        assert tasks.relay("orders", 0) == "relay orders 0 was taken over by another process."
        assert Lease.objects.get().holder == "another"

    def test_the_other_side_is_away(
        self, joined: Direction, broken: Callable[[Exception], None], in_no_time: list[float], monkeypatch: Any
    ) -> None:
        order()
        broken(PeerUnavailable("It is down.", retry_after=120.0))
        monkeypatch.setattr(tasks, "RELAY_SECONDS", 3.0)
        assert tasks.relay("orders", 0) == "legacy->extracted: nothing to send; It is down."
        assert in_no_time == [3.0]
        assert list(marks().values()) == [(1, 0)]
        assert not Lease.objects.exists()

    def test_the_other_side_refuses(
        self, joined: Direction, broken: Callable[[Exception], None], caplog: pytest.LogCaptureFixture
    ) -> None:
        order()
        broken(PeerRefused("A wrong token."))
        assert tasks.relay("orders", 0) == "A wrong token."
        assert "relay orders 0: A wrong token." in caplog.text
        assert not Lease.objects.exists()


class TestGoingOn:
    """A relay whose time is over hints at the next one."""

    @pytest.fixture(autouse=True)
    def by_a_worker(self) -> Iterator[None]:
        """Let the task look as if a worker ran it."""
        tasks.relay.push_request(called_directly=False, is_eager=False)
        yield
        tasks.relay.pop_request()

    def test_without_a_pause(self, joined: Direction, hints: list[Hint]) -> None:
        tasks.relay.run("orders", 1)
        assert hints == [RELAYS[1]]

    def test_not_while_another_one_is_at_it(self, joined: Direction, hints: list[Hint]) -> None:
        with leases.held("default", "relay orders 0", 10):
            tasks.relay.run("orders", 0)
        assert hints == []

    @pytest.mark.parametrize("error", [PeerUnavailable("It is down."), PeerRefused("A wrong token.")])
    def test_not_in_trouble(self, broken: Callable[[Exception], None], hints: list[Hint], error: Exception) -> None:
        order()
        broken(error)
        tasks.relay.run("orders", 0)
        assert hints == []

    def test_the_broker_is_away(
        self, joined: Direction, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def apply_async(*args: Any, **kwargs: Any) -> None:
            raise OperationalError("nobody there")

        monkeypatch.setattr(Task, "apply_async", apply_async)
        order()
        with caplog.at_level(logging.WARNING, "strangler.sync"):
            assert tasks.relay.run("orders", 0) == "legacy->extracted: 1 applied"
        assert "the broker is away, the next sweep goes on: nobody there" in caplog.text


class TestBackfill:
    def test_it_stops_when_its_time_is_over(self, joined: Direction, settings: Any) -> None:
        settings.STRANGLER_SYNC = {**of_tests.STRANGLER_SYNC, "BACKFILL_CHUNK": 1}
        with database.capture_suppressed("default"):
            order()
            order()
        operate.start_backfill("orders")
        assert [tasks.work_backfill("orders") for _ in range(3)] == [
            "1 of 2 marked",
            "2 of 2 marked",
            "2 of 2 marked",
        ]
        assert operate.standing("orders").backfill.fraction == 1.0  # type: ignore[union-attr]

    def test_one_at_a_time(self, captured: None) -> None:
        operate.start_backfill("orders")
        with leases.held("default", "backfill orders", 10):
            assert "is being done by" in tasks.work_backfill("orders")

    def test_it_gives_way_while_the_relay_is_behind(
        self, captured: None, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tasks, "WORK_SECONDS", 60.0)
        settings.STRANGLER_SYNC = {**of_tests.STRANGLER_SYNC, "BACKFILL_QUEUE": 1}
        order()
        operate.start_backfill("orders")
        assert tasks.work_backfill("orders") == "0 of 1 marked"

    def test_none_was_begun(self, captured: None, caplog: pytest.LogCaptureFixture) -> None:
        assert "No backfill of orders was begun" in tasks.work_backfill("orders")


class TestVerification:
    def test_nothing_to_compare(self, joined: Direction) -> None:
        assert tasks.work_verification("orders") == "0 ranges compared"

    def test_ranges(self, joined: Direction, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        settings.STRANGLER_SYNC = {**of_tests.STRANGLER_SYNC, "VERIFY_RANGE": 2}
        for _ in range(6):
            order()
        tasks.relay("orders", 0)
        operate.begin_verification("orders")
        monkeypatch.setattr(tasks, "WORK_SECONDS", 60.0)
        assert tasks.work_verification("orders").endswith(" ranges compared")
        found = operate.last_run("orders")
        assert found is not None
        assert (found.clean, found.compared) == (True, 6)
        assert verify.unfinished(LEGACY) is None

    def test_a_side_that_is_away_is_told_and_the_range_is_free_again(
        self, joined: Direction, broken: Callable[[Exception], None], monkeypatch: Any, caplog: Any
    ) -> None:
        operate.begin_verification("orders")
        broken(PeerUnavailable("It is down."))
        monkeypatch.setattr(tasks, "WORK_SECONDS", 60.0)
        assert tasks.work_verification("orders") == "It is down."
        assert "verify orders: It is down." in caplog.text
        assert verify.unfinished(LEGACY).ranges.filter(taken_until=None).exists()  # type: ignore[union-attr]


def test_old_lag_is_forgotten() -> None:
    lag.record("default", "orders", "legacy->extracted", [1.0])
    lag.Lag.objects.update(minute=timezone.now() - lag.KEEP - timedelta(minutes=1))
    assert tasks.purge() == 1


def test_pausing_waits() -> None:
    tasks.pause(0.0)


def test_the_two_sides_are_the_settings_own() -> None:
    out, back = directions("orders")
    assert (out.name, back.name) == ("legacy->extracted", "extracted->legacy")
    assert isinstance(out.source, LocalSide)
    assert out.target.name == back.source.name == "extracted"
