"""Settings of idempotency, from ``settings.STRANGLER_IDEMPOTENCY``, read when they are needed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from django.conf import settings
from django.core.checks import Error
from django.core.exceptions import ImproperlyConfigured

SETTING = "STRANGLER_IDEMPOTENCY"


@dataclass(frozen=True, kw_only=True)
class IdempotencySettings:
    """How long claims live."""

    lease_seconds: float = 5.0
    """After this an unfinished claim may be taken over. Safety never rests on it: a lost claim cannot complete."""
    lock_timeout_seconds: float = 2.0
    """How long taking a claim over waits for a transaction that is just completing it (PostgreSQL)."""
    keep_days: int = 7
    """For how long an answered key is remembered before ``idempotency purge`` removes it."""
    holder: str = "legacy"
    """Which side this process is: ``legacy`` in the monolith, ``extracted`` in a service."""
    travels: tuple[str, ...] = ()
    """The service whose answered keys change hands together with its data; both sides say the same."""
    owned_buckets: str = ""
    """The dotted path of a function that returns which buckets of a service this side may write; None: all of them."""


def conf() -> IdempotencySettings:
    """Return the settings as they are now; raise ImproperlyConfigured for a key or a value that means nothing."""
    given = getattr(settings, SETTING, {})
    known = {item.name.upper(): item for item in fields(IdempotencySettings)}
    for name, value in given.items():
        if name not in known:
            raise ImproperlyConfigured(f"{SETTING} has a key {name!r}, which means nothing. Known: {', '.join(known)}.")
        kind, fits = KINDS[known[name].type]
        if not fits(value):
            raise ImproperlyConfigured(f"{SETTING}[{name!r}] is {value!r}, which is not {kind}.")
    values: dict[str, Any] = {
        name.lower(): tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }
    return IdempotencySettings(**values)


def _names_one(value: Any) -> bool:
    """Return whether a list names no service or one: the rows of one table change hands as one."""
    return isinstance(value, list | tuple) and len(value) <= 1 and all(isinstance(one, str) and one for one in value)


KINDS: Mapping[Any, tuple[str, Callable[[Any], bool]]] = {
    float: ("a number above zero", lambda value: isinstance(value, int | float) and value > 0),
    int: ("a number above zero", lambda value: isinstance(value, int | float) and value > 0),
    str: ("a text", lambda value: isinstance(value, str) and bool(value)),
    tuple[str, ...]: ("a list with the name of one service", _names_one),
}
"""What values have to be, by the type of the setting."""


def check_settings(**kwargs: Any) -> list[Error]:
    """Report what is wrong with the settings before a request finds out."""
    try:
        conf()
    except ImproperlyConfigured as problem:
        hint = "docs/routing.md lists every key and its type."
        return [Error(str(problem), hint=hint, id="strangler_idempotency.E001")]
    return []
