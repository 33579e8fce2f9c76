"""Explain the decision on one request, by the same functions that make it."""

import difflib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import connections

from router import registry
from router.decide import Decision, Facts, decide, needs_identity, samples_requests
from router.exceptions import StranglerError
from router.holders import BUCKETS
from router.limits import CHANNEL_OF, Limits, limits
from router.routes import Asked, Key, Route
from router.seam.operations import declared
from router.snapshot import Snapshot

NEAR = 3
SEAM = "SEAM"
"""What stands in place of a method where an operation is explained and no request."""


class NoRoute(StranglerError):
    """No route is declared for a request, so the router leaves it alone."""

    def __init__(self, method: str, path: str, near: tuple[Route, ...]) -> None:
        self.near = near
        hint = "".join(f"\n  {route}" for route in near)
        super().__init__(
            f"No route is declared for {method} {path}; the router leaves it alone and legacy answers."
            + (f" Near it:{hint}" if near else " No routes are declared at all.")
        )


class NoOperation(StranglerError):
    """No operation is declared under a name."""

    def __init__(self, label: str, known: tuple[str, ...]) -> None:
        close = difflib.get_close_matches(label, known, n=NEAR) or known
        super().__init__(
            f"No operation is called {label}."
            + (f" There are: {', '.join(close)}." if known else " None is declared at all.")
        )


class NoUser(StranglerError):
    """There is no user with this primary key."""


class NotAKey(StranglerError):
    """The text is no primary key of a user."""


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Who asks, as far as the decision is concerned."""

    subject: str | None = None
    staff: bool = False
    superuser: bool = False

    @classmethod
    def of(cls, pk: str) -> "Visitor":
        """Read a user; raise NoUser or NotAKey."""
        model = get_user_model()
        try:
            user = model._default_manager.get(pk=pk)
        except model.DoesNotExist:
            raise NoUser(f"There is no user {pk}.") from None
        except (ValueError, ValidationError) as problem:
            raise NotAKey(f"{pk!r} is no primary key of a user: {problem}") from None
        return cls(
            subject=str(user.pk),
            staff=bool(getattr(user, "is_staff", False)),
            superuser=bool(getattr(user, "is_superuser", False)),
        )


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Everything that went into a decision, and the decision."""

    method: str
    path: str
    route: Route
    key: Key | None
    key_queries: int
    """How many SQL reads it took to find the key."""
    key_seconds: float
    identity_needed: bool
    """Whether the request has to be looked at, or envelope and flag decide for everyone."""
    limits: Limits
    shadow_limits: Limits
    decision: Decision
    shadow_share: int
    """How many of 100 such requests are copied elsewhere for comparison: all or none where a bucket decides it."""
    copied: Decision
    """The decision with a copy where any is made, else the decision."""

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "method": self.method,
            "path": self.path,
            "service": self.route.service,
            "route": self.route.name,
            "pattern": self.route.pattern,
            "kind": self.route.kind.value,
            "origin": self.route.origin,
            "key": None if self.key is None else str(self.key),
            "key_source": self.route.key.describe() if self.route.key else None,
            "key_queries": self.key_queries,
            "bucket": self.decision.bucket,
            "step": self.limits.step,
            "store": self.decision.store,
            "envelope_percent": self.limits.envelope,
            "flag": self.limits.flag_name if self.limits.has_flag else None,
            "requested_percent": self.limits.requested,
            "effective_percent": self.limits.effective,
            "limited_by": self.limits.limited_by,
            "owner": self.decision.owner,
            "owned_percent": 0 if self.limits.moved is None else len(self.limits.moved.extracted),
            "held": self.decision.held,
            "side": self.decision.side,
            "reason": self.decision.reason,
            "detail": self.decision.detail,
            "shadow": self.shadow_share == 100,
            "shadow_share": self.shadow_share,
            "shadow_store": self.copied.shadow_store or None,
            "identity_needed": self.identity_needed,
        }


def explain(
    method: str,
    path: str,
    *,
    snapshot: Snapshot,
    visitor: Visitor | None = None,
    body: Mapping[str, Any] | None = None,
) -> Explanation:
    """Decide a request that was never sent; raise NoRoute where no route is declared for it."""
    method = method.upper()
    found = registry.match(method, path)
    if found is None:
        raise NoRoute(method, path, near(method, path))
    who = visitor or Visitor()
    route = found.route
    asked = Asked(subject=who.subject, arguments=found.kwargs, body=lambda: body)
    started = time.monotonic()
    with _counted_queries() as count:
        key = route.partition_key(asked)
    facts = Facts(
        method=method,
        route=route,
        key=key,
        subject=who.subject,
        staff=who.staff,
        superuser=who.superuser,
        authenticated=who.subject is not None,
    )
    shadow_share, copied = _copies(facts, snapshot)
    return Explanation(
        method=method,
        path=path,
        route=route,
        key=key,
        key_queries=count(),
        key_seconds=time.monotonic() - started,
        identity_needed=needs_identity(route, snapshot),
        limits=limits(route.service, CHANNEL_OF[route.kind], snapshot),
        shadow_limits=limits(route.service, "shadow", snapshot),
        decision=decide(facts, snapshot),
        shadow_share=shadow_share,
        copied=copied,
    )


def explain_operation(label: str, *, snapshot: Snapshot, owner: Visitor) -> Explanation:
    """Decide a call of a seam's operation about an owner's data; raise NoOperation if none is called so."""
    operation = next((known for known in declared() if known.label == label), None)
    if operation is None:
        raise NoOperation(label, tuple(known.label for known in declared()))
    route = operation.route
    facts = Facts(
        method=operation.method,
        route=route,
        key=owner.subject,
        subject=owner.subject,
        staff=owner.staff,
        superuser=owner.superuser,
        authenticated=owner.subject is not None,
    )
    shadow_share, copied = _copies(facts, snapshot)
    return Explanation(
        method=SEAM,
        path=label,
        route=route,
        key=owner.subject,
        key_queries=0,
        key_seconds=0.0,
        identity_needed=needs_identity(route, snapshot),
        limits=limits(route.service, CHANNEL_OF[route.kind], snapshot),
        shadow_limits=limits(route.service, "shadow", snapshot),
        decision=decide(facts, snapshot),
        shadow_share=shadow_share,
        copied=copied,
    )


def _copies(facts: Facts, snapshot: Snapshot) -> tuple[int, Decision]:
    """Return how many of 100 such requests are copied, and how one is; chance picks where nobody looks at a bucket."""
    looked_at = facts.key is not None and needs_identity(facts.route, snapshot)
    decision = decide(facts, snapshot)
    if looked_at or not samples_requests(facts.route, snapshot):
        return (100 if decision.shadow else 0), decision
    places = [decide(facts._replace(key=None, sample=place), snapshot) for place in range(BUCKETS)]
    copied = [found for found in places if found.shadow]
    return len(copied), (copied or [decision])[0]


def near(method: str, path: str) -> tuple[Route, ...]:
    """Return the routes that were perhaps meant: the same path with other methods first, then what reads alike."""
    same_path = [route for route in registry.routes() if _matches(route, path)]
    alike = sorted(
        (route for route in registry.routes() if route not in same_path),
        key=lambda route: (
            -difflib.SequenceMatcher(None, path, registry.example(route.pattern)).ratio(),
            method not in route.methods,
        ),
    )
    return tuple([*same_path, *alike][:NEAR])


def _matches(route: Route, path: str) -> bool:
    return any(registry.Registry([route]).match(method, path) for method in route.methods)


@contextmanager
def _counted_queries() -> Iterator[Callable[[], int]]:
    executed = 0

    def count(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        nonlocal executed
        executed += 1
        return execute(sql, params, many, context)

    with ExitStack() as stack:
        for connection in connections.all(initialized_only=False):
            stack.enter_context(connection.execute_wrapper(count))
        yield lambda: executed
