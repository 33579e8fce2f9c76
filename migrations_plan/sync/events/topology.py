"""Which queues there are at the broker, and who gets what: importable from a settings module."""

from collections.abc import Iterable

from kombu import Exchange, Queue, binding

EXCHANGE = "strangler.events"


def queue_name(consumer: str) -> str:
    """Return the queue in which a consumer's events wait."""
    return f"events.{consumer}"


def direct_topic(consumer: str) -> str:
    """Return the topic under which something is sent to one consumer alone."""
    return f"to.{consumer}"


def acks_queue_name(stream: str) -> str:
    """Return the queue in which acknowledgements for a stream's outbox wait."""
    return f"events.acks.{stream}"


def event_queues(consumer: str, topics: Iterable[str], exchange: str = EXCHANGE) -> list[Queue]:
    """Return the queues a consumer's Celery workers read, for ``CELERY_TASK_QUEUES``.

    Topics are RabbitMQ's: words between dots, ``*`` for one word and ``#`` for any number: ``orders.#``.
    """
    topic = Exchange(exchange, type="topic", durable=True)
    keys = [direct_topic(consumer), *topics]
    return [
        Queue(
            queue_name(consumer),
            exchange=topic,
            routing_key=keys[0],
            bindings=[binding(topic, routing_key=key) for key in keys],
            durable=True,
        )
    ]


def ack_queues(stream: str, exchange: str = EXCHANGE) -> list[Queue]:
    """Return the queue by which consumers in other databases acknowledge what this stream's outbox sent."""
    topic, key = Exchange(exchange, type="topic", durable=True), f"acks.{stream}"
    return [Queue(acks_queue_name(stream), exchange=topic, routing_key=key, durable=True)]


def matches(pattern: str, topic: str) -> bool:
    """Return whether a topic fits a pattern, as RabbitMQ's topic exchanges see it."""
    return _fits(pattern.split("."), topic.split("."))


def _fits(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    head, *rest = pattern
    if head == "#":
        return any(_fits(rest, words[taken:]) for taken in range(len(words) + 1))
    return bool(words) and head in {"*", words[0]} and _fits(rest, words[1:])
