"""The outbox: events are there if and only if the change is, numbered without gaps, and sent until acknowledged."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.utils import timezone

from migrations_plan.sync.events import outbox
from migrations_plan.sync.events.api import BrokerAway, NotInTransaction, publish
from migrations_plan.sync.events.envelopes import Envelope
from migrations_plan.sync.events.models import Delivery, OutboxEvent
from migrations_plan.sync.events.relay import BUSY, relay
from tests.migrations_plan.sync.events.conftest import Happened, World, tell

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("world")]


class Wire:
    """Stands at the broker's door and notes what is brought; can be shut."""

    def __init__(self) -> None:
        self.sent: list[tuple[Envelope, str | None]] = []
        self.room = 1000
        self.untaken: dict[str, int] = {}
        """How many messages wait for a consumer."""

    def send(self, envelope: Envelope, to: str | None) -> None:
        if len(self.sent) >= self.room:
            raise BrokerAway("The broker cannot be reached: closed.")
        self.sent.append((envelope, to))

    def waiting(self, consumer: str) -> int:
        return self.untaken.get(consumer, 0)

    @contextmanager
    def open(self) -> Iterator["Wire"]:
        yield self

    @property
    def numbers(self) -> list[int]:
        return [envelope.payload["number"] for envelope, _ in self.sent]


@pytest.fixture
def wire() -> Wire:
    return Wire()


def pass_once(wire: Wire) -> Any:
    return relay(sender=wire.open)


def make_due() -> None:
    Delivery.objects.update(next_at=timezone.now() - timedelta(seconds=1))


class TestPublishing:
    @pytest.mark.django_db(transaction=True)
    def test_outside_of_a_transaction_is_refused(self) -> None:
        with pytest.raises(NotInTransaction, match=r"orders\.tested\.happened was published outside"):
            publish(Happened(number=1), key=7)

    @pytest.mark.django_db(transaction=True)
    def test_what_is_rolled_back_was_never_told_and_leaves_no_gap(self) -> None:
        tell(1)

        def change_ones_mind() -> None:
            with transaction.atomic():
                publish(Happened(number=2), key=7)
                raise RuntimeError

        with pytest.raises(RuntimeError):
            change_ones_mind()
        tell(3)
        assert list(OutboxEvent.objects.values_list("sequence", "payload__number").order_by("pk")) == [(1, 1), (2, 3)]

    def test_each_aggregate_counts_for_itself(self) -> None:
        tell(1, 2, key="a")
        tell(3, key="b")
        assert list(OutboxEvent.objects.order_by("pk").values_list("key", "sequence")) == [("a", 1), ("a", 2), ("b", 1)]

    @pytest.mark.django_db(transaction=True)
    def test_of_many_publishers_at_once_none_is_left_out(self) -> None:
        """Numbers are those of the commits: gap-free, and in the order in which the rows were added."""
        start = threading.Barrier(6)

        def run(name: int) -> None:
            with closing(connection):
                start.wait(10)
                for number in range(5):
                    with transaction.atomic():
                        Group.objects.create(name=f"{name}-{number}")
                        publish(Happened(number=number), key="same")

        threads = [threading.Thread(target=run, args=(name,)) for name in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert list(OutboxEvent.objects.order_by("pk").values_list("sequence", flat=True)) == list(range(1, 31))


class TestRelay:
    def test_events_go_out_in_their_order_and_once(self, wire: Wire) -> None:
        tell(1, 2, 3)
        assert (pass_once(wire).new, wire.numbers) == (3, [1, 2, 3])
        assert (pass_once(wire).sent, wire.numbers) == (0, [1, 2, 3])
        assert {to for _, to in wire.sent} == {None}

    def test_each_says_which_one_comes_before_it(self, wire: Wire) -> None:
        tell(1, 2)
        pass_once(wire)
        tell(3)
        pass_once(wire)
        assert [envelope.after for envelope, _ in wire.sent] == [{"shop": 0}, {"shop": 1}, {"shop": 2}]

    def test_an_event_that_nobody_wants_is_done(self, wire: Wire, settings: Any) -> None:
        settings.STRANGLER_EVENTS = {**settings.STRANGLER_EVENTS, "CONSUMERS": {"shop": ["payments.#"]}}
        tell(1)
        assert (pass_once(wire).new, wire.sent, Delivery.objects.count()) == (1, [], 0)

    def test_a_consumer_that_came_later_waits_for_nothing_older(self, wire: Wire, settings: Any) -> None:
        tell(1)
        pass_once(wire)
        both = {"shop": ["orders.#"], "books": ["orders.*.happened"]}
        settings.STRANGLER_EVENTS = {**settings.STRANGLER_EVENTS, "CONSUMERS": both}
        tell(2, 3)
        pass_once(wire)
        assert [envelope.after.get("books") for envelope, _ in wire.sent] == [None, 0, 2]
        assert [envelope.after["shop"] for envelope, _ in wire.sent] == [0, 1, 2]

    def test_nobody_is_told_to_wait_for_what_it_does_not_get(self, wire: Wire, settings: Any) -> None:
        """In between came an event of another topic."""
        settings.STRANGLER_EVENTS = {**settings.STRANGLER_EVENTS, "CONSUMERS": {"shop": ["orders.*.happened"]}}
        tell(1, 2, 3)
        OutboxEvent.objects.filter(sequence=2).update(type="orders.tested.other")
        pass_once(wire)
        assert [(envelope.sequence, envelope.after) for envelope, _ in wire.sent] == [
            (1, {"shop": 0}),
            (3, {"shop": 1}),
        ]

    def test_what_is_not_acknowledged_is_sent_again_to_those_alone(self, wire: Wire, settings: Any) -> None:
        both = {"shop": ["orders.#"], "books": ["orders.#"]}
        settings.STRANGLER_EVENTS = {**settings.STRANGLER_EVENTS, "CONSUMERS": both}
        (event_id,) = tell(1)
        pass_once(wire)
        assert outbox.acknowledge([event_id], "shop") == 1
        make_due()
        pass_once(wire)
        assert [to for _, to in wire.sent] == [None, "books"]
        outbox.acknowledge([event_id], "books")
        make_due()
        assert pass_once(wire).sent == 0

    def test_each_time_it_waits_longer(self, wire: Wire) -> None:
        tell(1)
        waits = []
        for _ in range(8):
            make_due()
            pass_once(wire)
            waits.append(round((Delivery.objects.get().next_at - timezone.now()).total_seconds()))
        assert waits == [10, 20, 40, 80, 160, 300, 300, 300]

    def test_nothing_is_repeated_to_a_consumer_that_is_only_slow(self, wire: Wire, settings: Any) -> None:
        both = {"shop": ["orders.#"], "books": ["orders.#"]}
        settings.STRANGLER_EVENTS = {**settings.STRANGLER_EVENTS, "CONSUMERS": both}
        tell(1)
        pass_once(wire)
        wire.untaken["shop"] = BUSY + 1
        tell(2)
        make_due()
        pass_once(wire)
        assert [(envelope.sequence, to) for envelope, to in wire.sent] == [(1, None), (1, "books"), (2, None)]
        postponed = Delivery.objects.get(consumer="shop", event__sequence=1)
        assert postponed.attempts == 1
        assert postponed.next_at > timezone.now() + timedelta(seconds=8)
        wire.untaken["shop"] = BUSY
        Delivery.objects.filter(pk=postponed.pk).update(next_at=timezone.now())
        pass_once(wire)
        assert [(envelope.sequence, to) for envelope, to in wire.sent][3:] == [(1, "shop")]

    def test_while_the_broker_is_away_everything_stays_due(self, wire: Wire, caplog: Any) -> None:
        tell(*range(5))
        wire.room = 2
        report = pass_once(wire)
        assert (report.sent, "cannot be reached" in report.broker_away) == (2, True)
        assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
        assert list(Delivery.objects.filter(next_at__lte=timezone.now()).values_list("attempts", flat=True)) == [0] * 3
        wire.room = 1000
        pass_once(wire)
        assert wire.numbers == [0, 1, 2, 3, 4]

    def test_a_relay_that_died_with_events_in_its_hands_is_followed(self, wire: Wire) -> None:
        tell(1, 2)
        outbox.fan_out()
        assert len(outbox.claim_due(10)) == 2  # and then its process is gone
        assert pass_once(wire).sent == 0
        make_due()
        pass_once(wire)
        assert wire.numbers == [1, 2]

    @pytest.mark.django_db(transaction=True)
    def test_relays_at_the_same_time_send_each_event_once(self) -> None:
        tell(*range(40))
        wires = [Wire() for _ in range(4)]
        start = threading.Barrier(len(wires))

        def run(wire: Wire) -> None:
            with closing(connection):
                start.wait(10)
                pass_once(wire)

        threads = [threading.Thread(target=run, args=(wire,)) for wire in wires]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        sent = sorted(number for wire in wires for number in wire.numbers)
        assert sent == list(range(40))

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_an_event_that_commits_late_is_not_passed_over(self, wire: Wire) -> None:
        """Its row is older than others that were relayed before: no position is kept that it could be behind."""
        written, go = threading.Event(), threading.Event()

        def slow() -> None:
            with closing(connection), transaction.atomic():
                publish(Happened(number=1), key="slow")
                written.set()
                go.wait(30)

        thread = threading.Thread(target=slow)
        thread.start()
        written.wait(30)
        tell(2, key="fast")
        pass_once(wire)
        go.set()
        thread.join(30)
        pass_once(wire)
        assert wire.numbers == [2, 1]


class TestPurging:
    def test_what_is_over_goes_but_the_latest_of_each_aggregate(self, wire: Wire) -> None:
        told = tell(1, 2, 3)
        pass_once(wire)
        outbox.acknowledge(told, "shop")
        assert outbox.purge(timezone.now() + timedelta(seconds=1)) == 2
        tell(4)
        pass_once(wire)
        assert wire.sent[-1][0].after == {"shop": 3}

    def test_what_somebody_still_waits_for_stays(self, wire: Wire) -> None:
        tell(1, 2)
        pass_once(wire)
        assert outbox.purge(timezone.now() + timedelta(seconds=1)) == 0


def test_the_world_saw_nothing(world: World) -> None:
    """Publishing and relaying run no handler."""
    tell(1)
    relay(sender=Wire().open)
    assert world.seen == []
