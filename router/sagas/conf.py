"""Settings of sagas, from ``settings.STRANGLER_SAGAS``, read when they are needed."""

from dataclasses import dataclass, fields

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

SETTING = "STRANGLER_SAGAS"


@dataclass(frozen=True, kw_only=True)
class SagaSettings:
    """How patient sagas are."""

    lease_seconds: float = 15.0
    """Who runs a saga has so long for each step before another process may take it over. Longer than a step's own
    time-out. Safety never rests on it: who has lost a saga can change nothing any more."""
    retry_seconds: float = 1.0
    """A step that failed is tried again after this, then twice this, and so on."""
    max_retry_seconds: float = 60.0
    max_tries: int = 12
    """A step that failed so often waits for a person."""
    keep_days: float = 7.0
    """For how long finished sagas are remembered."""


def conf() -> SagaSettings:
    """Return the settings as they are now; raise ImproperlyConfigured for a key or a value that means nothing."""
    given = getattr(settings, SETTING, {})
    known = {item.name.upper(): item for item in fields(SagaSettings)}
    for name, value in given.items():
        if name not in known:
            raise ImproperlyConfigured(f"{SETTING} has a key {name!r}, which means nothing. Known: {', '.join(known)}.")
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise ImproperlyConfigured(f"{SETTING}[{name!r}] is {value!r}, which is not a number above zero.")
    return SagaSettings(**{name.lower(): value for name, value in given.items()})
