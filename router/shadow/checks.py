"""System checks of what is compared: each says where the mistake is and what to do about it."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps.config import AppConfig
from django.core import checks
from django.core.checks import CheckMessage, Error

from router import registry
from router.conf import SETTING, StranglerSettings, conf
from router.exceptions import ConfigurationError
from router.routes import Kind, Route


def register_all() -> None:
    """Register them."""
    checks.register(check_guard)
    checks.register(check_shadowed_routes)


def check_guard(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report limits at which shadowing would always be off, or never."""
    shadow = _usable_conf().shadow
    found: list[CheckMessage] = []
    if shadow.slow_factor <= 1:
        found.append(
            Error(
                f"{SETTING}['SHADOW']['SLOW_FACTOR'] is {shadow.slow_factor}: a side would always be slow.",
                hint="2.0 switches shadowing off while a side takes twice as long as it usually does.",
                id="strangler.E019",
            )
        )
    if shadow.memory_share > 1:
        found.append(
            Error(
                f"{SETTING}['SHADOW']['MEMORY_SHARE'] is {shadow.memory_share}: there is never more used than all.",
                hint="0.9 switches shadowing off while more than 90 % of the memory is used.",
                id="strangler.E019",
            )
        )
    return found


def check_shadowed_routes(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report routes whose dry-runs or samples cannot be."""
    return [message for route in registry.routes() for message in (*_dry_run(route), *_percentages(route))]


def _dry_run(route: Route) -> Iterator[CheckMessage]:
    if not route.dry_run:
        return
    if route.kind is Kind.READ:
        yield Error(
            f"{route.origin}: the route {route.label!r} is declared dry_run, and only reads.",
            hint="Take dry_run out: its reads are compared anyway, unless it says shadow=False.",
            id="strangler.E020",
        )
    service = _usable_conf().services.get(route.service)
    if service is not None and not service.upstreams:
        yield Error(
            f"{route.origin}: the route {route.label!r} is declared dry_run, and {route.service} has no address.",
            hint=f"Say where it runs: {SETTING}['SERVICES'][{route.service!r}]['UPSTREAMS'] = "
            '{"shared": "http://127.0.0.1:8101"}.',
            id="strangler.E021",
        )


def _percentages(route: Route) -> Iterator[CheckMessage]:
    for name in ("shadow_percent", "shadow_back_percent"):
        value = getattr(route, name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100:
            yield Error(
                f"{route.origin}: {name} of the route {route.label!r} is {value!r}.",
                hint="Use a whole number from 0 to 100.",
                id="strangler.E022",
            )


def _usable_conf() -> StranglerSettings:
    """Return the settings, empty ones where they cannot be read; another check reports that."""
    try:
        return conf()
    except ConfigurationError:
        return StranglerSettings()
