"""An event type of the tests' own, handlers that note what they get, and messages as a broker would bring them."""

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import transaction

from migrations_plan.sync.events import inbox, outbox
from migrations_plan.sync.events.api import Effects, Event, event_type, handles, publish
from migrations_plan.sync.events.envelopes import Envelope
from migrations_plan.sync.events.models import OutboxEvent
from migrations_plan.sync.events.testing import override_declarations

TYPE = "orders.tested.happened"


@dataclass(frozen=True, kw_only=True)
class Happened:
    """The payload of the tests' events."""

    number: int
    total: Decimal = Decimal("1.50")


@dataclass(kw_only=True)
class World:
    """What the handlers of a test have seen, and how they behave."""

    seen: list[tuple[str, str, int]] = field(default_factory=list)
    """Handler, key and number of each event handled to its end, in order."""
    fail: Callable[[Event[Happened]], bool] = lambda event: False
    """Whether a handler raises for an event."""
    keys: list[str] = field(default_factory=list)
    """The idempotency keys of all attempts with effects outside."""

    def numbers(self, handler: str = "test.database", key: str = "7") -> list[int]:
        """Return what one handler got of one aggregate."""
        return [number for name, of, number in self.seen if (name, of) == (handler, key)]


@pytest.fixture
def world() -> Iterator[World]:
    """Declare the tests' event type with a handler of each kind."""
    found = World()
    with override_declarations():
        event_type(TYPE)(Happened)

        @handles(Happened, name="test.database")
        def in_the_database(event: Event[Happened]) -> None:
            Group.objects.create(name=f"{event.key}-{event.payload.number}-{event.id}")
            if found.fail(event):
                raise RuntimeError("not today")
            found.seen.append((event.handler, event.key, event.payload.number))

        @handles(Happened, name="test.outside", effects=Effects.OUTSIDE)
        def outside(event: Event[Happened]) -> None:
            found.keys.append(event.idempotency_key)
            if found.fail(event):
                raise RuntimeError("not today")
            found.seen.append((event.handler, event.key, event.payload.number))

        yield found


def tell(*numbers: int, key: object = 7) -> list[uuid.UUID]:
    """Publish events, each in a transaction of its own."""
    told = []
    for number in numbers:
        with transaction.atomic():
            told.append(publish(Happened(number=number), key=key))
    return told


def messages(**changes: Any) -> list[Any]:
    """Return what the broker would bring for all published events, in the order of publication."""
    outbox.fan_out()
    brought = []
    for event in OutboxEvent.objects.order_by("pk"):
        after = dict(event.deliveries.values_list("consumer", "after"))
        envelope = replace(Envelope.of(event, stream="default", after=after), **changes)
        brought.append(json.loads(json.dumps(envelope.as_json())))
    return brought


def bring(*brought: Any) -> list[str]:
    """Take messages in, in this order; return what became of each."""
    return [inbox.receive(message).kind for message in brought]
