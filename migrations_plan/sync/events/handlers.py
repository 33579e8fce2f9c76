"""Handlers: what a program does about an event."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from migrations_plan.sync.events.errors import DeclarationError
from migrations_plan.sync.events.types import type_of

P = TypeVar("P")


class Effects(StrEnum):
    """Where a handler has its effects, and so how often it may run."""

    DATABASE = "database"
    """In the inbox's database only: the handler and the note that it ran are one transaction, so it runs once."""
    OUTSIDE = "outside"
    """In other systems: it runs at least once, outside of any transaction, and hands on the idempotency key."""


@dataclass(frozen=True, kw_only=True)
class Event(Generic[P]):
    """An event as its handler gets it."""

    id: uuid.UUID
    type: str
    version: int
    """The version in which it was published."""
    key: str
    """Which aggregate it happened to, as text."""
    sequence: int
    """Counts the events of the aggregate from 1."""
    occurred_at: datetime
    payload: P
    handler: str
    attempt: int = 1

    @property
    def idempotency_key(self) -> str:
        """Return what names this effect of this event, the same at each attempt."""
        return f"{self.id}:{self.handler}"


Function = Callable[[Event[Any]], object]
F = TypeVar("F", bound=Function)


@dataclass(frozen=True, kw_only=True)
class Handler:
    """A declared handler."""

    name: str
    types: tuple[str, ...]
    function: Function
    effects: Effects
    ordered: bool


_handlers: dict[str, Handler] = {}


def handles(
    *payloads: type[Any], name: str, effects: Effects = Effects.DATABASE, ordered: bool = True
) -> Callable[[F], F]:
    """Declare a handler of one or several types. Its name is kept with its work: renaming it makes it another handler.

    ``ordered`` handlers get the events of one aggregate in their order, and none while an earlier one of theirs is
    unfinished. What has to happen in order belongs into one handler: two of them do not wait for each other.
    """
    if not payloads:
        raise DeclarationError(f"The handler {name} handles nothing. Name the payloads it is for.")

    def declare(function: F) -> F:
        known = _handlers.get(name)
        if known is not None and known.function.__code__.co_filename != function.__code__.co_filename:
            raise DeclarationError(f"Two handlers are called {name}. A name belongs to one.")
        _handlers[name] = Handler(
            name=name,
            types=tuple(type_of(payload).name for payload in payloads),
            function=function,
            effects=Effects(effects),
            ordered=ordered,
        )
        return function

    return declare


def handlers() -> tuple[Handler, ...]:
    """Return all declared handlers, sorted by name."""
    return tuple(handler for _, handler in sorted(_handlers.items()))


def handlers_of(event_type: str) -> tuple[Handler, ...]:
    """Return the handlers of an event type."""
    return tuple(handler for handler in handlers() if event_type in handler.types)


def handler_named(name: str) -> Handler | None:
    """Return the handler of this name, None if there is none in this program."""
    return _handlers.get(name)


@contextmanager
def replaced() -> Iterator[None]:
    """Begin with no handlers and forget afterwards those declared in between; for tests."""
    before = dict(_handlers)
    _handlers.clear()
    try:
        yield
    finally:
        _handlers.clear()
        _handlers.update(before)
