"""Domain events are handled at once, by this program, in the caller's transaction."""

from dataclasses import dataclass

import pytest
from django.contrib.auth.models import Group
from django.db import transaction

from migrations_plan.sync.events import bus
from migrations_plan.sync.events.errors import DeclarationError


@dataclass(frozen=True)
class Shipped:
    order: int


@dataclass(frozen=True)
class ShippedAbroad(Shipped):
    country: str


def test_subscribers_are_called_in_their_order() -> None:
    seen: list[str] = []
    first, second = (lambda event: seen.append(f"first {event.order}")), (lambda event: seen.append("second"))
    with bus.subscribed(Shipped, first), bus.subscribed(Shipped, second):
        bus.emit(Shipped(7))
    assert seen == ["first 7", "second"]


def test_afterwards_nobody_listens() -> None:
    seen: list[object] = []
    with bus.subscribed(Shipped, seen.append):
        pass
    bus.emit(Shipped(7))
    assert seen == []


def test_a_class_is_itself_and_not_its_parents() -> None:
    seen: list[object] = []
    with bus.subscribed(Shipped, seen.append):
        bus.emit(ShippedAbroad(7, "CH"))
    assert seen == []


def test_twice_is_a_mistake() -> None:
    seen: list[object] = []
    subscriber = seen.append
    with bus.subscribed(Shipped, subscriber), pytest.raises(DeclarationError, match="Shipped twice"):
        bus.on(Shipped)(subscriber)


@pytest.mark.django_db
def test_what_a_subscriber_raises_undoes_the_work() -> None:
    def refuse(event: Shipped) -> None:
        raise ValueError("no")

    def ship() -> None:
        with transaction.atomic():
            Group.objects.create(name="shipped")
            bus.emit(Shipped(7))

    with bus.subscribed(Shipped, refuse), pytest.raises(ValueError, match="no"):
        ship()
    assert not Group.objects.exists()
