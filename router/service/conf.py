"""Settings of a service that stands behind the router, from ``settings.STRANGLER_SERVICE``, read when needed."""

from dataclasses import dataclass

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
    return ServiceSettings(name=given["NAME"], secret=given["SECRET"], versions=given.get("VERSIONS", ""))
