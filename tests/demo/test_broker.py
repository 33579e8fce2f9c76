"""The unreliable broker, on the embedded broker: what is put in twice comes twice, and what is held comes late."""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from celery import Celery
from kombu import Connection, Exchange, Queue
from kombu.exceptions import ChannelError

from demo import broker as demo_broker
from demo.broker import Broker, Meddler, meddling
from demo.waiting import until
from migrations_plan.sync.embedded_broker import register


@dataclass(frozen=True)
class Wire:
    """A queue at the broker, from both ends."""

    connection: Connection
    queue: Queue

    def put(self, *numbers: int) -> None:
        with self.connection.Producer() as producer:
            for number in numbers:
                body = {"number": number}
                producer.publish(body, exchange=self.queue.exchange, routing_key="k", declare=[self.queue], retry=False)

    def take(self) -> list[int]:
        got = []
        while (message := self.queue(self.connection.default_channel).get(no_ack=True)) is not None:
            got.append(message.payload["number"])
        return got


@pytest.fixture
def broker(tmp_path: Path) -> Broker:
    # A process remembers what it has bound: each test has a queue of its own.
    made = Broker(directory=tmp_path / "broker", queue=f"queue-{uuid.uuid4()}")
    for folder in (made.messages, made.directory / "control", made.held):
        folder.mkdir(parents=True)
    return made


@pytest.fixture
def wire(broker: Broker) -> Iterator[Wire]:
    register()
    options = {
        "data_folder_in": str(broker.messages),
        "data_folder_out": str(broker.messages),
        "control_folder": str(broker.directory / "control"),
    }
    with Connection("embedded://", transport_options=options) as opened:
        exchange = Exchange(broker.queue, type="direct")
        yield Wire(connection=opened, queue=Queue(broker.queue, exchange, routing_key="k"))


def test_copy_is_delivered_as_well(broker: Broker, wire: Wire) -> None:
    wire.put(1, 2)
    assert broker.copy(broker.waiting()[0]) is not None
    assert sorted(wire.take()) in ([1, 1, 2], [1, 2, 2])


def test_message_that_is_gone_is_neither_copied_nor_held(broker: Broker, wire: Wire) -> None:
    wire.put(1)
    (message,) = broker.waiting()
    assert wire.take() == [1]
    assert (broker.copy(message), broker.hold(message)) == (None, None)


def test_messages_of_other_queues_are_left_alone(broker: Broker) -> None:
    (broker.messages / "1_a.celery.msg").touch()
    (broker.messages / f"1_a.{broker.queue}.msg.draft").touch()
    assert broker.waiting() == []


def test_held_messages_come_in_the_reverse_order(broker: Broker, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_broker, "COPIED", 0.0)
    monkeypatch.setattr(demo_broker, "HELD", 1.0)
    meddler = Meddler(broker=broker, dice=random.Random(1))
    for number in (1, 2, 3):
        wire.put(number)
        meddler.look()
    assert wire.take() == []
    meddler.let_go()
    meddler.look()  # nothing is held back twice
    assert (meddler.held, wire.take()) == (3, [3, 2, 1])


def test_meddler_ends_with_nothing_held(broker: Broker, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_broker, "COPIED", 0.5)
    monkeypatch.setattr(demo_broker, "HELD", 0.5)
    wire.put(*range(40))
    with meddling(broker, random.Random(1)) as meddler:
        until(lambda: len(broker.waiting()) + len(list(broker.held.iterdir())) > 40, seconds=10, what="copies")
        until(lambda: len(meddler._seen) >= 40 + meddler.copied, seconds=10, what="all messages were looked at")
    assert meddler.copied + meddler.held == 40
    assert list(broker.held.iterdir()) == []
    assert sorted(set(wire.take())) == list(range(40))


def test_nobody_publishes_or_reads_while_the_broker_is_away(broker: Broker, wire: Wire) -> None:
    wire.put(1)
    broker.go_away()
    with pytest.raises((ChannelError, OSError)):
        wire.put(2)
    with pytest.raises((ChannelError, OSError)):
        wire.take()
    with pytest.raises(OSError):  # noqa: PT011 - which one is the operating system's choice
        broker.messages.mkdir(parents=True, exist_ok=True)
    assert broker.waiting() == []
    broker.come_back()
    broker.come_back()
    assert wire.take() == [1]
    wire.put(3)
    assert wire.take() == [3]


def test_events_that_wait_are_known_by_their_ids(broker: Broker, wire: Wire) -> None:
    event = uuid.uuid4()
    app = Celery(set_as_current=False)
    with wire.connection.Producer() as producer:
        for _ in range(2):
            app.send_task(
                "strangler_events.receive",
                args=[{"id": str(event), "type": "orders.order.placed"}],
                exchange=wire.queue.exchange,
                routing_key="k",
                declare=[wire.queue],
                producer=producer,
                retry=False,
            )
    assert len(broker.waiting()) == 2
    assert broker.waiting_events() == {event.hex}
