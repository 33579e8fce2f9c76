"""Read a settings dictionary into a typed value; what means nothing is refused with the key, the value, the way out."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")
Reader = Callable[[str, str, Any], Any]
"""Gets the setting's name, the key and the value; returns the value as its field holds it."""


def read(setting: str, kind: type[T], more: Mapping[Any, Reader]) -> T:
    """Return the dataclass ``kind`` with what the setting gives; ``more`` reads fields of further types.

    Keys are the fields' names in capitals. Raises ImproperlyConfigured for a key or a value that means nothing.
    """
    readers = {**READERS, **more}
    known = {item.name.upper(): item for item in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in dict(getattr(settings, setting, {})).items():
        if name not in known:
            raise ImproperlyConfigured(f"{setting} has a key {name!r}, which means nothing. Known: {', '.join(known)}.")
        values[name.lower()] = readers[known[name].type](setting, name, value)
    return kind(**values)


def text(setting: str, name: str, value: Any) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise ImproperlyConfigured(f"{setting}[{name!r}] is {value!r}, which is not a text.")
    return value


def number(setting: str, name: str, value: Any) -> float:
    """Return a number above zero."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ImproperlyConfigured(f"{setting}[{name!r}] is {value!r}, which is not a number above zero.")
    return float(value)


def whole(setting: str, name: str, value: Any) -> int:
    """Return a whole number above zero."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ImproperlyConfigured(f"{setting}[{name!r}] is {value!r}, which is not a whole number above zero.")
    return value


def truth(setting: str, name: str, value: Any) -> bool:
    """Return whether."""
    if not isinstance(value, bool):
        raise ImproperlyConfigured(f"{setting}[{name!r}] is {value!r}. Use True or False.")
    return value


READERS: Mapping[Any, Reader] = {str: text, float: number, int: whole, bool: truth}
