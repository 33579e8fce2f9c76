"""Settings of idempotency, from ``settings.STRANGLER_IDEMPOTENCY``, read when they are needed."""

from dataclasses import dataclass

from django.conf import settings


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
    """Return the settings as they are now."""
    given = getattr(settings, "STRANGLER_IDEMPOTENCY", {})
    return IdempotencySettings(**{name.lower(): value for name, value in given.items()})
