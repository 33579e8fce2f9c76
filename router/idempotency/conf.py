"""Settings of idempotency, from ``settings.STRANGLER_IDEMPOTENCY``, read when they are needed."""

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


def conf() -> IdempotencySettings:
    """Return the settings as they are now; raise ImproperlyConfigured for a key or a value that means nothing."""
    given = getattr(settings, SETTING, {})
    known = {item.name.upper(): item for item in fields(IdempotencySettings)}
    for name, value in given.items():
        if name not in known:
            raise ImproperlyConfigured(f"{SETTING} has a key {name!r}, which means nothing. Known: {', '.join(known)}.")
        number = known[name].type is not str
        if not (isinstance(value, int | float) and value > 0 if number else isinstance(value, str) and value):
            kind = "a number above zero" if number else "a text"
            raise ImproperlyConfigured(f"{SETTING}[{name!r}] is {value!r}, which is not {kind}.")
    return IdempotencySettings(**{name.lower(): value for name, value in given.items()})


def check_settings(**kwargs: Any) -> list[Error]:
    """Report what is wrong with the settings before a request finds out."""
    try:
        conf()
    except ImproperlyConfigured as problem:
        hint = "docs/routing.md lists every key and its type."
        return [Error(str(problem), hint=hint, id="strangler_idempotency.E001")]
    return []
