"""Hand events to the broker through the project's Celery application, one connection a pass."""

import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from celery import Celery, current_app
from django.utils.module_loading import import_string
from kombu import Connection
from kombu.exceptions import KombuError

from migrations_plan.sync.events.conf import conf
from migrations_plan.sync.events.envelopes import Envelope
from migrations_plan.sync.events.errors import BrokerAway
from migrations_plan.sync.events.topology import ack_queues, direct_topic, event_queues, queue_name

logger = logging.getLogger("strangler.events")

RECEIVE = "strangler_events.receive"
ACKNOWLEDGE = "strangler_events.acknowledge"
CONNECT_SECONDS = 3.0


class Sender(Protocol):
    """Where a relay hands its events to."""

    def send(self, envelope: Envelope, to: str | None) -> None:
        """Send an event to everybody who subscribed to its topic, or to one consumer; raise BrokerAway."""
        ...

    def waiting(self, consumer: str) -> int:
        """Return how many messages wait for a consumer; raise BrokerAway."""
        ...


def application() -> Celery:
    """Return the Celery application that events go through."""
    path = conf().celery_app
    app: Celery = import_string(path) if path else current_app
    return app


class CelerySender:
    """Sends as Celery tasks over one connection, to queues that it has declared before."""

    def __init__(self, app: Celery, connection: Connection) -> None:
        self._app = app
        self._connection = connection
        self._producer = app.amqp.Producer(connection)
        self._channel: Any = connection.default_channel  # the stubs do not know what channels have in common
        settings = conf()
        self._exchange = settings.exchange
        for consumer, topics in settings.consumers.items():  # else the broker would drop what nobody waits for yet
            for queue in event_queues(consumer, topics, settings.exchange):
                queue(self._channel).declare()

    def send(self, envelope: Envelope, to: str | None) -> None:
        """Send one event."""
        topic = envelope.type if to is None else direct_topic(to)
        self._publish(RECEIVE, [envelope.as_json()], topic)

    def waiting(self, consumer: str) -> int:
        """Return how many messages nobody has taken out of a consumer's queue yet."""
        with _broker_errors(self._connection):
            channel: Any = self._channel
            return int(channel.queue_declare(queue_name(consumer), passive=True).message_count)

    def acknowledge(self, event_ids: Sequence[uuid.UUID], consumer: str, stream: str) -> None:
        """Tell another database's outbox that events have arrived."""
        for queue in ack_queues(stream, self._exchange):
            queue(self._channel).declare()
        self._publish(ACKNOWLEDGE, [[str(event_id) for event_id in event_ids], consumer], f"acks.{stream}")

    def _publish(self, task: str, args: list[Any], topic: str) -> None:
        with _broker_errors(self._connection):
            self._app.send_task(
                task,
                args=args,
                exchange=self._exchange,
                routing_key=topic,
                producer=self._producer,
                serializer="json",
                ignore_result=True,
                retry=False,
            )


@contextmanager
def celery_sender() -> Iterator[CelerySender]:
    """Connect to the broker for the length of the block; raise BrokerAway if it cannot be reached."""
    app = application()
    connection = app.connection_for_write(connect_timeout=CONNECT_SECONDS)
    try:
        with _broker_errors(connection):
            connection.connect()
            sender = CelerySender(app, connection)
        yield sender
    finally:
        connection.release()


@contextmanager
def _broker_errors(connection: Connection) -> Iterator[None]:
    """Turn what the transport raises, each in a family of its own, into BrokerAway."""
    families: tuple[type[BaseException], ...] = (
        KombuError,
        OSError,
        *connection.connection_errors,
        *connection.channel_errors,
    )
    try:
        yield
    except families as error:
        raise BrokerAway(f"The broker cannot be reached: {error or type(error).__name__}.") from error
