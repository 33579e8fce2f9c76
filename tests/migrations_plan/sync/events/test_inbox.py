"""The inbox: whatever order events come in, and however often, handlers see each once and in order."""

import threading
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from migrations_plan.sync.events import inbox, outbox, tasks
from migrations_plan.sync.events.models import Cursor, Delivery, HandlerRun, InboxEvent
from migrations_plan.sync.events.runs import work
from tests.examples import examples
from tests.migrations_plan.sync.events.conftest import World, bring, messages, tell

pytestmark = pytest.mark.django_db


def test_events_in_their_order(world: World) -> None:
    tell(1, 2, 3)
    assert bring(*messages()) == ["new"] * 3
    work()
    assert world.numbers() == world.numbers("test.outside") == [1, 2, 3]


def test_duplicates_are_dropped_and_counted(world: World) -> None:
    tell(1, 2)
    first, second = messages()
    assert bring(first, first, second, first, second) == ["new", "duplicate", "new", "duplicate", "duplicate"]
    work()
    assert bring(second) == ["duplicate"]
    work()
    assert world.numbers() == [1, 2]
    assert list(InboxEvent.objects.order_by("sequence").values_list("duplicates", flat=True)) == [2, 2]


def test_an_event_waits_for_those_before_it(world: World) -> None:
    tell(1, 2, 3)
    first, second, third = messages()
    bring(third, second)
    assert work().done == 0
    assert set(InboxEvent.objects.values_list("state", flat=True)) == {"waiting"}
    bring(first)
    work()
    assert world.numbers() == [1, 2, 3]


def test_other_aggregates_do_not_wait(world: World) -> None:
    tell(1, 2, key="late")
    tell(3, key="prompt")
    _, second, other = messages()
    bring(second, other)
    work()
    assert (world.numbers(key="late"), world.numbers(key="prompt")) == ([], [3])


def test_an_aggregate_that_began_before_we_listened(world: World) -> None:
    """The relay says that nothing comes before it."""
    tell(1, 2, 3)
    messages()
    Delivery.objects.filter(event__sequence=1).delete()
    Delivery.objects.filter(event__sequence=2).update(after=0)
    _, second, third = messages()
    bring(third, second)
    work()
    assert world.numbers() == [2, 3]


def test_an_event_of_a_topic_that_does_not_come_here_is_not_waited_for(world: World) -> None:
    tell(1, 2, 3)
    first, _, third = messages()
    bring({**third, "after": {"shop": 1}})
    assert work().done == 0
    bring(first)
    work()
    assert world.numbers() == [1, 3]


def test_one_that_comes_after_all_is_not_lost(world: World) -> None:
    tell(1, 2)
    first, second = messages()
    bring({**second, "after": {"shop": 0}}, first)
    work()
    assert sorted(world.numbers()) == [1, 2]


def test_a_duplicate_of_what_is_long_forgotten(world: World) -> None:
    tell(1, 2)
    old, _ = brought = messages()
    bring(*brought)
    work()
    inbox.purge(timezone.now() + timedelta(seconds=1))
    assert not InboxEvent.objects.exists()
    long_ago = (timezone.now() - timedelta(days=8)).isoformat()
    assert bring({**old, "occurred_at": long_ago}) == ["duplicate"]
    work()
    assert world.numbers() == [1, 2]


def test_purging_leaves_what_is_not_over(world: World) -> None:
    tell(1, 2, 3)
    first, _, third = messages()
    bring(first, third)  # the second is missing, so the third waits
    world.fail = lambda event: True
    work()
    assert inbox.purge(timezone.now() + timedelta(days=1)) == 0


class TestParked:
    """What cannot be read is kept with its reason, acknowledged, and holds up no other aggregate."""

    def test_an_unknown_type(self, world: World) -> None:
        tell(1, 2)
        first, second = messages()
        assert bring({**first, "type": "orders.tested.vanished"}, second) == ["parked", "new"]
        assert "No event type orders.tested.vanished" in InboxEvent.objects.get(state="parked").reason
        work()
        assert world.numbers() == [2]  # nobody here could have wanted it

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"version": 9}, "newer than version 1"),
            ({"payload": {"number": "one"}}, "Expected `int`, got `str`"),
            ({"payload": {}}, "missing required field `number`"),
        ],
    )
    def test_what_its_handlers_cannot_read_they_wait_for(self, world: World, change: dict[str, Any], said: str) -> None:
        tell(1, 2)
        tell(3, key="other")
        first, second, other = messages()
        assert bring({**first, **change}, second, other) == ["parked", "new", "new"]
        assert said in InboxEvent.objects.get(state="parked").reason
        work()
        assert (world.numbers(), world.numbers(key="other")) == ([], [3])

    def test_after_an_upgrade_it_is_read_and_the_others_follow(self, world: World) -> None:
        tell(1, 2)
        first, second = messages()
        bring({**first, "version": 9}, second)
        work()
        parked = InboxEvent.objects.get(state="parked")
        InboxEvent.objects.filter(pk=parked.pk).update(version=1)  # as if this program knew version 9 now
        parked.refresh_from_db()
        inbox.release_again(parked)
        work()
        assert world.numbers() == world.numbers("test.outside") == [1, 2]

    @pytest.mark.parametrize(
        "garbage", ["not json", None, 7, [], {}, {"id": "x"}, {"type": "orders.tested.happened"}, b"\xff\x00"]
    )
    def test_garbage(self, world: World, garbage: Any) -> None:
        assert bring(garbage, garbage) == ["parked", "duplicate"]
        row = InboxEvent.objects.get()
        assert (row.state, "is no event" in row.reason, row.duplicates) == ("parked", True, 1)
        tell(1)
        bring(*messages())
        work()
        assert world.numbers() == [1]

    @pytest.mark.parametrize("change", [{"sequence": 0}, {"sequence": -1}, {"occurred_at": "2026-01-01T00:00:00"}])
    def test_an_envelope_that_makes_no_sense(self, world: World, change: dict[str, Any]) -> None:
        tell(1)
        (message,) = messages()
        assert bring({**message, **change}) == ["parked"]


class TestAcknowledging:
    def test_in_the_same_database(self, world: World) -> None:
        (event_id,) = tell(1)
        (message,) = messages()
        tasks.receive.apply(args=[message])
        assert Delivery.objects.get().acked_at is not None
        assert world.numbers() == [1]
        assert outbox.acknowledge([event_id], "nobody") == 0

    def test_parked_events_too_or_they_would_come_forever(self, world: World) -> None:
        tell(1)
        (message,) = messages()
        tasks.receive.apply(args=[{**message, "version": 9}])
        assert Delivery.objects.get().acked_at is not None

    def test_garbage_is_taken_whatever_its_shape(self, world: World) -> None:
        for args in ([], ["x", "y"], [None]):
            assert tasks.receive.apply(args=args).get() == "parked"


@pytest.mark.django_db(transaction=True)
def test_the_same_events_from_many_workers_at_once(world: World) -> None:
    """Each thread brings all events in an order of its own and works what is due."""
    tell(*range(6))
    brought = messages()
    start = threading.Barrier(4)

    def run(shift: int) -> None:
        with closing(connection):
            start.wait(10)
            bring(*brought[shift:], *brought[:shift])
            work()

    threads = [threading.Thread(target=run, args=(shift,)) for shift in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    work()
    assert world.numbers() == world.numbers("test.outside") == list(range(6))
    assert (InboxEvent.objects.count(), Cursor.objects.get().through) == (6, 6)
    assert Group.objects.count() == 6
    assert set(HandlerRun.objects.values_list("state", flat=True)) == {"done"}


@pytest.mark.usefixtures("world")
class TestAnyOrder(TestCase):
    """Any deliveries that leave none out come to the same."""

    @given(deliveries=st.lists(st.integers(0, 4), min_size=1, max_size=15), data=st.data())
    @examples(10)
    def test_any_order_and_number_of_deliveries(self, deliveries: list[int], data: Any) -> None:
        tell(*range(5), key=data.draw(st.integers()))
        brought = messages()[-5:]
        missing = [number for number in range(5) if number not in deliveries]
        for number in [*deliveries, *data.draw(st.permutations(missing))]:
            bring(brought[number])
            if data.draw(st.booleans()):
                work()
        work()
        handled = HandlerRun.objects.filter(handler="test.database", state="done").order_by("done_at", "pk")
        assert list(handled.values_list("sequence", flat=True)) == [1, 2, 3, 4, 5]
