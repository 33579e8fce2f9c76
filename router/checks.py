"""System checks: each says where the mistake is and what to do about it."""

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any
from urllib.parse import urlsplit

from django.apps.config import AppConfig
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, Warning
from django.utils.module_loading import import_string

from router import registry
from router.conf import SETTING, ServiceSettings, StranglerSettings, conf, unknown_keys
from router.exceptions import ConfigurationError
from router.project_checks import check_atomic_writes, check_databases, check_project
from router.routes import FromPath, Route
from router.shadow.rule_checks import check_noise, check_rules
from router.snapshot import OwnershipSource, SnapshotSource

SECRET_LENGTH = 32
DEMO_SECRET = "demo-only-"
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})

Check = Callable[..., list[CheckMessage]]


def register_all() -> None:
    """Register every check of the router."""
    of_settings: tuple[Check, ...] = (check_settings, check_hold, check_services, check_source, check_routes)
    for check in (*of_settings, check_project, check_databases, check_atomic_writes, check_noise, check_rules):
        checks.register(check)
    checks.register(check_secrets, Tags.security, deploy=True)


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report values of the wrong type, and keys that mean nothing."""
    found: list[CheckMessage] = []
    try:
        conf()
    except ConfigurationError as problem:
        found.append(Error(str(problem), hint="docs/routing.md lists every key and its type.", id="strangler.E010"))
    for unknown in unknown_keys(getattr(settings, SETTING, {})):
        meant = f"Did you mean {unknown.suggestion!r}?" if unknown.suggestion else "Take it out."
        found.append(
            Error(f"{unknown.where} has a key {unknown.key!r}, which means nothing.", hint=meant, id="strangler.E011")
        )
    return found


def check_hold(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report a write that would wait without ever looking for its owner."""
    hold = _usable_conf().hold
    if hold.poll_seconds < hold.seconds:
        return []
    return [
        Error(
            f"{SETTING}['HOLD'] lets a write wait for {hold.seconds} seconds, and look for its owner each "
            f"{hold.poll_seconds}: it is given up before it has looked.",
            hint="Make POLL_SECONDS a small part of SECONDS.",
            id="strangler.E018",
        )
    ]


def check_services(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report services that cannot be called: no secret, no usable URL."""
    return [message for service in _usable_conf().services.values() for message in _service(service)]


def _service(service: ServiceSettings) -> Iterator[CheckMessage]:
    where = f"{SETTING}['SERVICES'][{service.name!r}]"
    if len(service.secret) < SECRET_LENGTH:
        state = f"has {len(service.secret)} characters" if service.secret else "is missing"
        yield Error(
            f"{where}['SECRET'] {state}; identity tokens for {service.name} need at least {SECRET_LENGTH}.",
            hint="Make one for both sides with: python -c 'import secrets; print(secrets.token_urlsafe(48))'",
            id="strangler.E005",
        )
    if not service.upstreams:
        yield Error(
            f"{where}['UPSTREAMS'] is missing, so {service.name} cannot be called.",
            hint='Say where it runs, per store: {"shared": "http://127.0.0.1:8101"}.',
            id="strangler.E006",
        )
    for store, url in service.upstreams.items():
        if _unusable_url(url):
            yield Error(
                f"{where}['UPSTREAMS'][{store!r}] is {url!r}, which is no http or https URL with a host.",
                hint="Use http://host:port or https://host.",
                id="strangler.E006",
            )


def _unusable_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0
    except ValueError:  # a port that is no number
        return True


def check_source(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report dotted paths in the setting that lead nowhere."""
    known = _usable_conf()
    found: list[CheckMessage] = []
    if known.snapshot_source:
        source, problem = _imported(known.snapshot_source)
        if problem is None and not isinstance(source, SnapshotSource):
            problem = "it has no method envelopes()"
        if problem is None and _offers_half(source):
            problem = "it has only one of the methods ownership() and owner_now(), which belong together"
        if problem is not None:
            found.append(
                Error(
                    f"{SETTING}['SNAPSHOT_SOURCE'] is {known.snapshot_source!r}, which cannot be used: {problem}.",
                    hint="Name a class with a method envelopes(), like migrations_plan.source.PlanSnapshotSource.",
                    id="strangler.E007",
                )
            )
    for path in known.identity_resolvers:
        resolver, problem = _imported(path)
        if problem is None and not callable(resolver):
            problem = "it cannot be called"
        if problem is not None:
            found.append(
                Error(
                    f"{SETTING}['IDENTITY_RESOLVERS'] holds {path!r}, which cannot be used: {problem}.",
                    hint="Name functions like router.identity.resolvers.session.",
                    id="strangler.E014",
                )
            )
    return found


def _offers_half(source: Any) -> bool:
    """Return whether a source tells who owns what, but not in both of the ways that are needed."""
    offers = hasattr(source, "ownership") or hasattr(source, "owner_now")
    return offers and not isinstance(source, OwnershipSource)


def _imported(path: str) -> tuple[Any, str | None]:
    try:
        return import_string(path), None
    except ImportError as problem:
        return None, str(problem).rstrip(".")


def check_routes(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report routes that cannot work, by the file and line that declare them."""
    routes = registry.routes()
    return [
        *(message for route in routes for message in _route(route)),
        *_overlapping(routes),
        *_same_name(routes),
    ]


def _route(route: Route) -> Iterator[CheckMessage]:
    services = _usable_conf().services
    if route.service not in services:
        close = difflib.get_close_matches(route.service, services, n=1)
        known = ", ".join(sorted(services)) or "none"
        yield Error(
            f"{route.origin}: the route {route.name!r} belongs to an unknown service {route.service!r}.",
            hint=f"Did you mean {close[0]!r}?" if close else f"Add it to {SETTING}['SERVICES'] (there: {known}).",
            id="strangler.E001",
        )
    if route.key is None:
        yield Error(
            f"{route.origin}: the route {route.label!r} has no key, so it has no bucket.",
            hint="Say whose data it touches: key=Visitor(), FromPath(), FromBody(), Lookup() or Scatter().",
            id="strangler.E003",
        )
    unknown = sorted(set(route.methods) - METHODS)
    if unknown or not route.methods:
        yield Error(
            f"{route.origin}: the route {route.label!r} has unknown methods: {', '.join(unknown) or 'none at all'}.",
            hint=f"Known: {', '.join(sorted(METHODS))}.",
            id="strangler.E013",
        )
    yield from _pattern(route)


def _pattern(route: Route) -> Iterator[CheckMessage]:
    pattern = registry.compile_pattern(route.pattern)
    if isinstance(pattern, str):
        yield Error(
            f"{route.origin}: the pattern {route.pattern!r} of {route.label!r} cannot be used. {pattern}",
            hint="Write it as for Django's path(), with a leading slash: /api/orders/<int:order_id>/.",
            id="strangler.E004",
        )
    elif isinstance(route.key, FromPath) and route.key.name not in pattern.converters:
        names = ", ".join(pattern.converters) or "none"
        yield Error(
            f"{route.origin}: the key of {route.label!r} is <{route.key.name}>, which {route.pattern!r} lacks.",
            hint=f"The pattern has: {names}.",
            id="strangler.E012",
        )


def _overlapping(routes: Iterable[Route]) -> Iterator[CheckMessage]:
    for first, second in _pairs(routes, lambda route: registry.normalised(route.pattern)):
        both = sorted(set(first.methods) & set(second.methods))
        if both:
            yield Error(
                f"{second.origin}: {second} answers the same requests ({', '.join(both)}) as {first}.",
                hint=f"Keep one of them; the other stands in {first.origin}.",
                id="strangler.E002",
            )


def _same_name(routes: Iterable[Route]) -> Iterator[CheckMessage]:
    for first, second in _pairs(routes, lambda route: route.label):
        yield Error(
            f"{second.origin}: there is another route {second.label!r}, so their figures would be added up.",
            hint=f"Rename one of them; the other stands in {first.origin}.",
            id="strangler.E015",
        )


def _pairs(routes: Iterable[Route], same: Callable[[Route], str]) -> Iterator[tuple[Route, Route]]:
    groups: dict[str, list[Route]] = defaultdict(list)
    for route in routes:
        groups[same(route)].append(route)
    for group in groups.values():
        yield from combinations(group, 2)


def check_secrets(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Warn of the demo's secrets in a deployment; everybody can read them."""
    if settings.DEBUG:
        return []
    return [
        Warning(
            f"{SETTING}['SERVICES'][{name!r}]['SECRET'] is the demo's, which everybody can read.",
            hint=f"Set STRANGLER_SECRET_{name.upper()} in the environment of both sides to a secret of your own.",
            id="strangler.W001",
        )
        for name, service in _usable_conf().services.items()
        if service.secret.startswith(DEMO_SECRET)
    ]


def _usable_conf() -> StranglerSettings:
    """Return the settings, empty ones where they cannot be read; check_settings reports that."""
    try:
        return conf()
    except ConfigurationError:
        return StranglerSettings()
