"""Settings of a service that stands behind the router, from ``settings.STRANGLER_SERVICE``, read when needed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """Who this service is, and the secret it shares with the router."""

    name: str
    """The audience that identity tokens have to be issued for."""
    secret: str
    versions: str = ""
    """Dotted path of what finds the versions of aggregates; empty where there is only one copy of them."""
    dry_run_seconds: float = 1.0
    """How long a dry-run waits for a lock, and for each statement: it must not be in the way of a request."""


def conf() -> ServiceSettings:
    """Return the settings as they are now; raise ImproperlyConfigured naming what is missing."""
    given = getattr(settings, "STRANGLER_SERVICE", {})
    missing = [name for name in ("NAME", "SECRET") if not given.get(name)]
    if missing:
        raise ImproperlyConfigured(
            f"settings.STRANGLER_SERVICE lacks {' and '.join(missing)}. A service behind the router needs its name and "
            "the secret it shares with the router, for example "
            'STRANGLER_SERVICE = {"NAME": "orders", "SECRET": os.environ["STRANGLER_SECRET_ORDERS"]}.'
        )
    return ServiceSettings(
        name=given["NAME"],
        secret=given["SECRET"],
        versions=given.get("VERSIONS", ""),
        dry_run_seconds=_seconds(given),
    )


def _seconds(given: Mapping[str, Any]) -> float:
    value = given.get("DRY_RUN_SECONDS", ServiceSettings.dry_run_seconds)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ImproperlyConfigured(
            f"settings.STRANGLER_SERVICE['DRY_RUN_SECONDS'] is {value!r}, which is not a number above zero."
        )
    return float(value)
