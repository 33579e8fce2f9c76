"""Find out who the client is, once, so that the view need not ask again.

A resolver takes the request and returns an ``Identity``, or None if the request carries none of its credentials. It
raises ``CredentialsRejected`` for credentials that are there and wrong; the request then stays with legacy, whose own
error the client knows. The first resolver that answers wins, so they stand in the order of the views' authenticators.
"""

from collections.abc import Callable, Iterable
from typing import Any

from django.http import HttpRequest

from router.exceptions import StranglerError
from router.identity import ANONYMOUS, Identity, Kind

Resolver = Callable[[HttpRequest], Identity | None]


class CredentialsRejected(StranglerError):
    """The request carries credentials that prove nothing."""


def session(request: HttpRequest) -> Identity | None:
    """Identify the user of Django's session; ``request.user`` caches what was read, so the view reads nothing more."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    if not getattr(user, "is_active", True):  # some backends let them in, and leave it to the views
        raise CredentialsRejected("The user of the session has been deactivated.")
    return identity_of(user, "session")


def identity_of(user: Any, kind: Kind) -> Identity:
    """Return the identity of an authenticated Django user."""
    return Identity(
        subject=str(user.pk),
        kind=kind,
        staff=bool(getattr(user, "is_staff", False)),
        superuser=bool(getattr(user, "is_superuser", False)),
    )


def resolve(request: HttpRequest, resolvers: Iterable[Resolver]) -> Identity:
    """Return what the first resolver that knows the client says, or the anonymous identity."""
    for resolver in resolvers:
        identity = resolver(request)
        if identity is not None:
            return identity
    return ANONYMOUS
