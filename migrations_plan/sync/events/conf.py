"""Settings of events, from ``settings.STRANGLER_EVENTS``, read when they are needed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from migrations_plan.sync.reading import read

SETTING = "STRANGLER_EVENTS"


@dataclass(frozen=True, kw_only=True)
class EventSettings:
    """Who this program is among those that exchange events, and how patiently they are delivered."""

    consumer: str = ""
    """The inbox that this program serves; empty: it handles nothing."""
    consumers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Who gets which events, as topics with ``*`` for one word and ``#`` for any: known to whoever relays."""
    stream: str = "default"
    """Names the database that holds this program's outbox; programs that share the database share the name."""
    exchange: str = "strangler.events"
    celery_app: str = ""
    """Dotted path of the Celery application that events go through; empty: the current one."""
    travels: Mapping[str, str] = field(default_factory=dict)
    """By aggregate of events, the synced one with which their numbers change hands: ``orders.order``: ``orders``."""
    resend_seconds: float = 10.0
    """An event that was not acknowledged is sent again after this, then after twice this, and so on."""
    max_resend_seconds: float = 300.0
    max_attempts: int = 8
    """A handler that failed so often is given up until somebody retries it."""
    lease_seconds: float = 60.0
    """A handler with effects outside of the database may take this long before another worker tries in its place."""
    keep_days: float = 7.0
    """For how long delivered events are remembered; a duplicate that comes later than this is dropped by its age."""


def conf() -> EventSettings:
    """Return the settings as they are now; raise ImproperlyConfigured for a key or a value that means nothing."""
    more = {Mapping[str, tuple[str, ...]]: _consumers, Mapping[str, str]: _travels}
    return read(SETTING, EventSettings, more)


def _travels(setting: str, name: str, value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or not all(
        isinstance(one, str) and one for pair in value.items() for one in pair
    ):
        raise ImproperlyConfigured(f'{setting}[{name!r}] is {value!r}. Use a dictionary: {{"orders.order": "orders"}}.')
    return dict(value)


def _consumers(setting: str, name: str, value: Any) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(value, Mapping):
        raise ImproperlyConfigured(f'{setting}[{name!r}] is {value!r}. Use a dictionary: {{"shop": ["orders.#"]}}.')
    read: dict[str, tuple[str, ...]] = {}
    for consumer, topics in value.items():
        if isinstance(topics, str) or not topics or not all(isinstance(topic, str) and topic for topic in topics):
            raise ImproperlyConfigured(
                f'{setting}[{name!r}][{consumer!r}] is {topics!r}. Use a list of topics: ["orders.#"].'
            )
        read[str(consumer)] = tuple(topics)
    return read
