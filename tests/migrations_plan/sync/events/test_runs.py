"""Handlers: tried again, given up, retried; effects in the database exactly once, others with one key."""

import signal
import sys
import textwrap
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from migrations_plan.sync.events import runs
from migrations_plan.sync.events.api import DeclarationError, handles
from migrations_plan.sync.events.handlers import handlers
from migrations_plan.sync.events.models import HandlerRun
from migrations_plan.sync.events.runs import work
from tests.migrations_plan.sync.events.conftest import Happened, World, bring, messages, tell
from tests.processes import database_url, start_process, wait_until

pytestmark = pytest.mark.django_db


def run_of(handler: str = "test.database", sequence: int = 1) -> HandlerRun:
    return HandlerRun.objects.get(handler=handler, sequence=sequence)


def make_due() -> None:
    HandlerRun.objects.filter(state__in=("pending", "running")).update(next_at=timezone.now() - timedelta(seconds=1))


def deliver(*numbers: int, key: object = 7) -> None:
    tell(*numbers, key=key)
    bring(*messages())


class TestFailures:
    def test_what_it_did_in_the_database_is_undone(self, world: World) -> None:
        world.fail = lambda event: True
        deliver(1)
        work()
        assert not Group.objects.exists()
        assert (run_of().state, run_of().attempts, run_of().reason) == ("pending", 1, "RuntimeError: not today")

    def test_it_is_tried_again_later_and_each_time_later(self, world: World) -> None:
        world.fail = lambda event: True
        deliver(1)
        for wait in (timedelta(seconds=seconds) for seconds in (1, 2, 4, 8)):
            before = timezone.now()
            work()
            assert before + wait <= run_of().next_at <= timezone.now() + wait
            make_due()
        world.fail = lambda event: False
        work()
        assert (world.numbers(), run_of().state, run_of().reason) == ([1], "done", "")

    def test_in_the_end_it_is_given_up_with_its_reason(self, world: World, settings: Any) -> None:
        settings.STRANGLER_EVENTS = {**settings.STRANGLER_EVENTS, "MAX_ATTEMPTS": 3}
        world.fail = lambda event: True
        deliver(1)
        for _ in range(5):
            make_due()
            work()
        for handler in ("test.database", "test.outside"):
            parked = run_of(handler)
            assert (parked.state, parked.attempts, parked.reason) == ("parked", 3, "RuntimeError: not today")

    def test_meanwhile_the_rest_goes_on(self, world: World) -> None:
        """Other aggregates, and other handlers of the same event; later events of the same one wait."""
        world.fail = lambda event: event.handler == "test.database" and event.key == "7"
        deliver(1, 2)
        deliver(3, key="other")
        work()
        assert (world.numbers(), world.numbers("test.outside")) == ([], [1, 2])
        assert (world.numbers(key="other"), run_of(sequence=2).attempts) == ([3], 0)

    def test_a_handler_for_which_order_means_nothing_does_not_wait(self, world: World) -> None:
        seen: list[int] = []

        @handles(Happened, name="test.unordered", ordered=False)
        def unordered(event: Any) -> None:
            if event.payload.number == 1:
                raise RuntimeError
            seen.append(event.payload.number)

        deliver(1, 2, 3)
        work()
        assert seen == [2, 3]

    def test_a_handler_that_is_gone_from_the_program(self, world: World) -> None:
        deliver(1)
        HandlerRun.objects.filter(handler="test.outside").update(handler="test.removed")
        work()
        assert (run_of("test.removed").state, "no handler called test.removed" in run_of("test.removed").reason) == (
            "parked",
            True,
        )
        assert world.numbers() == [1]


class TestParkedRuns:
    @pytest.fixture
    def parked(self, world: World, settings: Any) -> HandlerRun:
        settings.STRANGLER_EVENTS = {**settings.STRANGLER_EVENTS, "MAX_ATTEMPTS": 1}
        world.fail = lambda event: event.handler == "test.database" and event.payload.number == 1
        deliver(1, 2)
        work()
        return run_of()

    def test_retried_it_runs_and_the_others_follow_in_order(self, world: World, parked: HandlerRun) -> None:
        assert world.numbers() == []
        world.fail = lambda event: False
        assert runs.retry([parked.pk]) == 1
        work()
        assert world.numbers() == [1, 2]

    def test_discarded_it_makes_way_and_is_remembered(self, world: World, parked: HandlerRun) -> None:
        assert runs.discard([parked.pk], "the customer is dead") == 1
        work()
        assert world.numbers() == [2]
        assert (run_of().state, run_of().reason) == ("discarded", "the customer is dead")

    def test_what_is_not_parked_is_neither_retried_nor_discarded(self, world: World, parked: HandlerRun) -> None:
        done = run_of("test.outside")
        assert (done.state, runs.retry([done.pk]), runs.discard([done.pk], "x")) == ("done", 0, 0)


class TestWorkersThatDie:
    def test_outside_it_is_run_again_with_the_same_key(self, world: World) -> None:
        deliver(1)
        run = run_of("test.outside")
        token = runs._begin(run)  # a worker takes it, does its work, and dies before it notes that
        assert token is not None
        assert work().done == 1  # the other handler
        make_due()
        work()
        assert world.keys == [f"{run.event.event_id}:test.outside"]
        assert run_of("test.outside").state == "done"

    def test_one_that_comes_back_late_changes_nothing(self, world: World) -> None:
        deliver(1)
        run = run_of()
        token = runs._begin(run)
        make_due()
        work()
        assert world.numbers() == [1]
        with pytest.raises(runs.NotOurs):
            runs._in_the_database(next(h for h in handlers() if h.name == "test.database"), run, token)
        assert Group.objects.count() == 1

    def test_a_handler_that_kills_its_worker_each_time_is_given_up(self, world: World, settings: Any) -> None:
        settings.STRANGLER_EVENTS = {**settings.STRANGLER_EVENTS, "MAX_ATTEMPTS": 3}
        deliver(1)
        for _ in range(3):
            runs._begin(run_of())
            make_due()
        work()
        assert (run_of().state, "did not come back" in run_of().reason) == ("parked", True)
        assert world.numbers() == []

    @pytest.mark.django_db(transaction=True)
    def test_killed_in_the_middle_of_a_handler(self, world: World) -> None:
        """A real process, SIGKILL after the effect and before the commit: the effect is there once in the end."""
        deliver(1)
        program = textwrap.dedent(
            """
            import os, signal
            import django
            django.setup()
            from django.contrib.auth.models import Group
            from migrations_plan.sync.events import handlers, runs, types
            from tests.migrations_plan.sync.events.conftest import TYPE, Happened
            types.event_type(TYPE)(Happened)
            @handlers.handles(Happened, name="test.database")
            def die(event):
                Group.objects.create(name="half")
                os.kill(os.getpid(), signal.SIGKILL)
            runs.work()
            """
        )
        env = {"DJANGO_SETTINGS_MODULE": "legacy_shop.settings", "SHOP_DATABASE_URL": database_url()}
        with start_process([sys.executable, "-c", program], env) as process:
            wait_until(lambda: process.process.poll() is not None, "the worker dies")
            assert process.process.returncode == -signal.SIGKILL, process.output()
        assert not Group.objects.exists()
        assert run_of().state == "running"
        make_due()
        work()
        assert (Group.objects.count(), world.numbers()) == (1, [1])


def test_handlers_are_named_once_and_handle_something(world: World) -> None:
    with pytest.raises(DeclarationError, match="handles nothing"):
        handles(name="test.nothing")
    assert [handler.name for handler in handlers()] == ["test.database", "test.outside"]
