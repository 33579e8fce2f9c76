"""System checks of the project around the router: its middleware, its databases, its views."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps.config import AppConfig
from django.conf import settings
from django.conf.urls.i18n import is_language_prefix_patterns_used
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.checks import CheckMessage, Error, Warning
from django.db import connections
from django.db import router as database_router
from django.urls import Resolver404, resolve
from django.utils.module_loading import import_string
from waffle import get_waffle_switch_model

from router import registry
from router.flags import groups_of_users
from router.idempotency.models import IdempotencyKey
from router.models import BreakerOverride, Flag
from router.routes import Kind, Route

MIDDLEWARE = "router.middleware.StranglerMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
FLAG_MODEL = "router.Flag"


@dataclass(frozen=True, kw_only=True)
class Place:
    """On which side of the router a middleware has to stand, and what goes wrong on the other."""

    path: str
    before: bool
    otherwise: str
    breaks: bool = False
    """Whether answers would be wrong, and not only poorer."""

    def wrong(self, found: int, here: int) -> bool:
        """Whether it stands on the other side."""
        return found > here if self.before else found < here


PLACES = (
    Place(
        path="django.contrib.auth.middleware.RemoteUserMiddleware",
        before=True,
        otherwise="users that it logs in are nobody to the service",
        breaks=True,
    ),
    Place(
        path="django.middleware.security.SecurityMiddleware",
        before=True,
        otherwise="plain HTTP is forwarded instead of redirected, and diverted answers lack its headers",
    ),
    Place(
        path="django.middleware.clickjacking.XFrameOptionsMiddleware",
        before=True,
        otherwise="diverted answers lack its header",
    ),
    Place(
        path="django.middleware.common.CommonMiddleware",
        before=True,
        otherwise="whom DISALLOWED_USER_AGENTS and PREPEND_WWW turn away is forwarded",
    ),
    Place(
        path="django.middleware.gzip.GZipMiddleware",
        before=True,
        otherwise="legacy's answers are compressed when they reach the router, and none can be compared",
    ),
    Place(
        path="corsheaders.middleware.CorsMiddleware",
        before=True,
        otherwise="diverted answers lack its headers, and browsers refuse them",
    ),
    Place(
        path="django.middleware.cache.FetchFromCacheMiddleware",
        before=False,
        otherwise="pages come from the cache before anybody decides, whatever plan and flags say since",
        breaks=True,
    ),
)
LOCALE = Place(
    path="django.middleware.locale.LocaleMiddleware",
    before=True,
    otherwise="views under another language's prefix cannot be found, and exempt ones are asked for a CSRF token",
)
"""Matters where URLs begin with a language."""


def check_project(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report a project that does not let the router do its work: its flags, its middleware."""
    found: list[CheckMessage] = []
    model = getattr(settings, "WAFFLE_FLAG_MODEL", None)
    if model != FLAG_MODEL:
        found.append(
            Error(
                f"WAFFLE_FLAG_MODEL is {model!r}; its percentages would be dice and its flags would not steer.",
                hint=f"Set WAFFLE_FLAG_MODEL = {FLAG_MODEL!r}, before waffle's first migration.",
                id="strangler.E009",
            )
        )
    if registry.routes():
        found.extend(_middleware(list(settings.MIDDLEWARE)))
    return found


def _middleware(installed: list[str]) -> Iterator[CheckMessage]:
    if MIDDLEWARE not in installed:
        first = registry.routes()[0]
        yield Error(
            f"Routes are declared (the first in {first.origin}), but MIDDLEWARE lacks {MIDDLEWARE!r}.",
            hint=f"Put it behind {AUTHENTICATION!r}, best at the end.",
            id="strangler.E008",
        )
        return
    if (times := installed.count(MIDDLEWARE)) > 1:
        yield Error(
            f"{MIDDLEWARE!r} stands in MIDDLEWARE {times} times, and counts each request so often.",
            hint="Take all but the last one out.",
            id="strangler.E008",
        )
    here = installed.index(MIDDLEWARE)
    if not any(_is_a(path, AUTHENTICATION) for path in installed[:here]):
        yield Error(
            f"{MIDDLEWARE!r} does not stand behind {AUTHENTICATION!r} in MIDDLEWARE, so it cannot know who asks.",
            hint="Move it behind the authentication middleware.",
            id="strangler.E008",
        )
    yield from _order(installed, here)


def _order(installed: list[str], here: int) -> Iterator[CheckMessage]:
    localised = is_language_prefix_patterns_used(settings.ROOT_URLCONF)[0]
    for number, path in enumerate(installed):
        for place in (*PLACES, LOCALE) if localised else PLACES:
            if _is_a(path, place.path) and place.wrong(number, here):
                kind = Error if place.breaks else Warning
                yield kind(
                    f"{path!r} stands {'behind' if place.before else 'before'} the router in MIDDLEWARE: "
                    f"{place.otherwise}.",
                    hint=f"Move it {'before' if place.before else 'behind'} {MIDDLEWARE!r}.",
                    id="strangler.E017" if place.breaks else "strangler.W003",
                )


def _is_a(path: str, wanted: str) -> bool:
    """Whether the middleware is the one wanted or a subclass of it."""
    if path == wanted:
        return True
    try:
        one, other = import_string(path), import_string(wanted)
    except ImportError:
        return False
    return isinstance(one, type) and isinstance(other, type) and issubclass(one, other)


def check_databases(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report what is read together and kept apart: flags name users and groups, and are polled as one."""
    flags = database_router.db_for_read(Flag)
    together: list[Any] = [get_user_model(), get_waffle_switch_model(), BreakerOverride]
    if groups_of_users() is not None:
        together.append(Group)
    return [
        Error(
            f"{Flag._meta.label} is in the database {flags!r} and {model._meta.label} in "
            f"{database_router.db_for_read(model)!r}; flags are read together with what they name.",
            hint="Let DATABASE_ROUTERS keep router, waffle and the users in one database.",
            id="strangler.E016",
        )
        for model in together
        if database_router.db_for_read(model) != flags
    ]


def check_atomic_writes(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report write routes whose views run in a transaction of their own, in which no key can be claimed."""
    alias = database_router.db_for_write(IdempotencyKey)
    if not connections.settings[alias]["ATOMIC_REQUESTS"]:
        return []
    return [
        Warning(
            f"{route.origin}: the view of {route.label!r}, {view.__module__}.{view.__qualname__}, runs in a "
            f"transaction (ATOMIC_REQUESTS of {alias!r}), so no idempotency key can be claimed before its work. Where "
            "the process dies before the router has recorded the answer, a retry writes again.",
            hint="Decorate it with router.idempotency.views.once, or inherit router.drf.IdempotentViewMixin.",
            id="strangler.W002",
        )
        for route in registry.routes()
        if route.kind is Kind.WRITE
        and (view := _view_of(route)) is not None
        and alias not in getattr(view, "_non_atomic_requests", ())
    ]


_EXAMPLES = ("1", "a", "00000000-0000-4000-8000-000000000000")
_PLACEHOLDER = re.compile(r"<[^>]+>")


def _view_of(route: Route) -> Any:
    """Return the view that legacy answers a route with; None where no example of its path leads to one."""
    for example in _EXAMPLES:
        try:
            return resolve(_PLACEHOLDER.sub(example, route.pattern)).func
        except Resolver404:
            continue
    return None
