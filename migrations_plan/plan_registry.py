"""The plans of the project, registered by each app's strangler.py."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.utils.module_loading import autodiscover_modules

from migrations_plan.errors import UnknownService
from migrations_plan.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A plan and the line that registered it."""

    plan: Plan
    origin: str


_registered: tuple[Registered, ...] = ()


def register(*plans: Plan) -> None:
    """Declare plans, from an app's strangler.py; what is wrong with one is reported by the system checks."""
    global _registered
    caller = sys._getframe(1)
    origin = f"{caller.f_code.co_filename}:{caller.f_lineno}"
    _registered += tuple(Registered(plan=plan, origin=origin) for plan in plans)


def autodiscover() -> None:
    """Import the strangler.py of every installed app."""
    autodiscover_modules("strangler")


def registered() -> tuple[Registered, ...]:
    """Return every registration, two for one service included."""
    return _registered


def plans() -> dict[str, Plan]:
    """Return the plan of every service, by name; of two for one service the first."""
    first: dict[str, Plan] = {}
    for entry in _registered:
        first.setdefault(entry.plan.service, entry.plan)
    return dict(sorted(first.items()))


def plan_of(service: str) -> Plan:
    """Return a service's plan, or say which services have one."""
    known = plans()
    if service not in known:
        raise UnknownService(service, tuple(known))
    return known[service]


@contextmanager
def replaced(*plans: Plan) -> Iterator[None]:
    """Use other plans for a while."""
    global _registered
    before = _registered
    _registered = tuple(Registered(plan=plan, origin="replaced") for plan in plans)
    try:
        yield
    finally:
        _registered = before
