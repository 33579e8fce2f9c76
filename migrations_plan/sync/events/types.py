"""Event types: what can have happened, in which version, and how it is written down."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from typing import Any, TypeVar

import msgspec

from migrations_plan.sync.events.errors import DeclarationError, FutureVersion, Unfit, UnknownType

P = TypeVar("P")
NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class EventType:
    """A declared type of event."""

    name: str
    """``<service>.<aggregate>.<what happened>``: ``orders.order.placed``; also the topic it is sent under."""
    version: int
    payload: type[Any]

    @property
    def aggregate(self) -> str:
        """Return what the event happened to: ``orders.order``."""
        return self.name.rpartition(".")[0]


class _Registry:
    def __init__(self) -> None:
        self.types: dict[str, EventType] = {}
        self.by_payload: dict[type[Any], EventType] = {}
        self.upcasters: dict[tuple[str, int], Upcaster] = {}


_registry = _Registry()


def event_type(name: str, *, version: int = 1) -> Callable[[type[P]], type[P]]:
    """Declare a dataclass to be the payload of an event type.

    Fields are what JSON and msgspec can hold: texts, numbers, Decimal, datetime, UUID, lists and dataclasses of these.
    """
    if not NAME.fullmatch(name):
        raise DeclarationError(
            f"{name!r} is no name of an event type. Use <service>.<aggregate>.<what happened>: orders.order.placed."
        )
    if version < 1:
        raise DeclarationError(f"{name} has version {version}. Versions count from 1.")

    def declare(payload: type[P]) -> type[P]:
        if not is_dataclass(payload):
            raise DeclarationError(f"{payload.__qualname__} is declared as {name} and is no dataclass.")
        known = _registry.types.get(name)
        if known is not None and _place(known.payload) != _place(payload):
            raise DeclarationError(
                f"The event type {name} is declared twice: {_place(known.payload)}, {_place(payload)}."
            )
        declared = EventType(name=name, version=version, payload=payload)
        _registry.types[name] = _registry.by_payload[payload] = declared
        return payload

    return declare


def upcasts(name: str, *, from_version: int) -> Callable[[Upcaster], Upcaster]:
    """Declare a function that turns a payload of ``from_version`` into one of the next version, as dictionaries."""

    def declare(upcaster: Upcaster) -> Upcaster:
        if (name, from_version) in _registry.upcasters:
            raise DeclarationError(f"Version {from_version} of {name} has two upcasters. Keep one.")
        _registry.upcasters[name, from_version] = upcaster
        return upcaster

    return declare


def declared_types() -> tuple[EventType, ...]:
    """Return all declared types, sorted by name."""
    return tuple(declared for _, declared in sorted(_registry.types.items()))


def missing_upcasters() -> Iterator[tuple[EventType, int]]:
    """Yield each type with every old version of it that nothing turns into the next one."""
    for declared in declared_types():
        for version in range(1, declared.version):
            if (declared.name, version) not in _registry.upcasters:
                yield declared, version


def type_of(payload: type[Any]) -> EventType:
    """Return the type that a dataclass was declared as."""
    try:
        return _registry.by_payload[payload]
    except KeyError:
        raise DeclarationError(
            f"{payload.__qualname__} is no event type. Declare it with @event_type where strangler.py imports it."
        ) from None


def find(name: str) -> EventType | None:
    """Return the type of this name, None if there is none."""
    return _registry.types.get(name)


def encode(payload: Any) -> dict[str, Any]:
    """Return the payload as JSON can hold it; raise Unfit if a field holds what its declaration does not allow."""
    declared = type_of(type(payload))
    data: dict[str, Any] = msgspec.to_builtins(payload)
    _fit(declared, data)
    return data


def decode(name: str, version: int, data: Mapping[str, Any]) -> Any:
    """Return the payload of an event; raise UnknownType, FutureVersion or Unfit with the reason."""
    declared = find(name)
    if declared is None:
        raise UnknownType(f"No event type {name} is declared in this program.")
    if version > declared.version:
        raise FutureVersion(
            f"Version {version} of {name} is newer than version {declared.version}, the latest that this program "
            "knows. Upgrade it, then retry."
        )
    return _fit(declared, _lifted(declared, version, dict(data)))


def _lifted(declared: EventType, version: int, data: dict[str, Any]) -> dict[str, Any]:
    """Lift the data from version to version up to the declared one."""
    for step in range(version, declared.version):
        upcaster = _registry.upcasters.get((declared.name, step))
        if upcaster is None:
            raise Unfit(
                f"Nothing turns version {step} of {declared.name} into version {step + 1}. Declare an upcaster."
            )
        try:
            data = upcaster(data)
        except Exception as error:
            raise Unfit(f"Version {step} of {declared.name} cannot be turned into {step + 1}: {error!r}.") from error
    return data


def _fit(declared: EventType, data: Mapping[str, Any]) -> Any:
    try:
        return msgspec.convert(data, declared.payload)
    except msgspec.ValidationError as error:
        raise Unfit(f"The payload does not fit {declared.name} version {declared.version}: {error}.") from error


def _place(payload: type[Any]) -> str:
    return f"{payload.__module__}.{payload.__qualname__}"


@contextmanager
def replaced() -> Iterator[None]:
    """Begin with what is declared now and forget afterwards what was declared in between; for tests."""
    global _registry
    before, _registry = _registry, _Registry()
    _registry.types.update(before.types)
    _registry.by_payload.update(before.by_payload)
    _registry.upcasters.update(before.upcasters)
    try:
        yield
    finally:
        _registry = before
