"""The bus inside one program: domain events, handled at once, in the transaction of whoever emits them.

Nothing is kept and nothing is sent. What other programs are to learn is published by a subscriber that turns the domain
event into an integration event. Imports no model, so that a service's domain may use it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from migrations_plan.sync.events.errors import DeclarationError

E = TypeVar("E")
Subscriber = Callable[[Any], object]

_subscribers: dict[type[Any], list[Subscriber]] = defaultdict(list)


def on(event: type[E]) -> Callable[[Callable[[E], object]], Callable[[E], object]]:
    """Subscribe the decorated function to a class of domain events."""

    def subscribe(subscriber: Callable[[E], object]) -> Callable[[E], object]:
        if subscriber in _subscribers[event]:
            raise DeclarationError(f"{subscriber.__qualname__} is subscribed to {event.__qualname__} twice.")
        _subscribers[event].append(subscriber)
        return subscriber

    return subscribe


def emit(event: object) -> None:
    """Call the subscribers of this very class, in the order they came; what one raises, the caller gets."""
    for subscriber in tuple(_subscribers[type(event)]):
        subscriber(event)


@contextmanager
def subscribed(event: type[E], subscriber: Callable[[E], object]) -> Iterator[None]:
    """Subscribe for the length of the block; for tests."""
    on(event)(subscriber)
    try:
        yield
    finally:
        _subscribers[event].remove(subscriber)
