"""What Django REST framework projects plug in: token clients that cost one query, and idempotent views.

REST framework imports authentication classes while its views are being imported, so nothing here may import those.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from rest_framework.authentication import TokenAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.response import Response

from router.idempotency.guard import CLAIM_ATTRIBUTE, Outcome, abandon, encode, has_pending_claim, run_once, settle
from router.identity import Identity
from router.identity.resolvers import CredentialsRejected, identity_of

RESOLVED_TOKEN = "_strangler_resolved_token"


@dataclass(frozen=True, kw_only=True)
class ResolvedToken:
    """The outcome of looking up a token, kept on the request for the view's own authentication."""

    user: Any = None
    token: Any = None
    failure: AuthenticationFailed | None = None


def token_identity(request: HttpRequest) -> Identity | None:
    """Identify the owner of a REST framework token; ``ReusedTokenAuthentication`` takes the result over."""
    if "HTTP_AUTHORIZATION" not in request.META:
        return None
    parts = get_authorization_header(request).split()  # type: ignore[arg-type]
    if not parts or parts[0].lower() != b"token":
        return None
    if len(parts) != 2:
        raise CredentialsRejected("The Authorization header is not of the form 'Token <key>'.")
    key = parts[1].decode("latin-1")
    try:
        user, token = TokenAuthentication().authenticate_credentials(key)
    except AuthenticationFailed as failure:
        setattr(request, RESOLVED_TOKEN, ResolvedToken(failure=failure))
        raise CredentialsRejected(str(failure.detail)) from failure
    setattr(request, RESOLVED_TOKEN, ResolvedToken(user=user, token=token))
    return identity_of(user, "token")


class ReusedTokenAuthentication(TokenAuthentication):
    """Authenticate by token, without asking the database again for a token that the router has looked up."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return (user, token) as TokenAuthentication does."""
        resolved: ResolvedToken | None = getattr(request._request, RESOLVED_TOKEN, None)
        if resolved is None:
            return super().authenticate(request)
        if resolved.failure is not None:
            raise resolved.failure
        return resolved.user, resolved.token


class IdempotentViewMixin:
    """Give an APIView ``run_once``; the raw body is kept, since the key's fingerprint is taken from it."""

    @classmethod
    def as_view(cls, *actions: Any, **initkwargs: Any) -> Any:
        """Keep the view out of ATOMIC_REQUESTS: a claim has to be committed before the work and outlive a refusal."""
        view = super().as_view(*actions, **initkwargs)  # type: ignore[misc]
        for alias in connections:
            transaction.non_atomic_requests(using=alias)(view)
        return view

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Keep the body before REST framework's parsers consume the stream."""
        if request.method not in {"GET", "HEAD", "OPTIONS"}:
            _ = request.body
        return super().initialize_request(request, *args, **kwargs)  # type: ignore[misc, no-any-return]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Answer, and give the key back where the work crashed: REST framework lets that pass unanswered."""
        try:
            return super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        except Exception:
            abandon(getattr(request, CLAIM_ATTRIBUTE, None))
            raise

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Settle a claim whose work was refused with the answer that says so."""
        raw = getattr(request, "_request", request)
        if has_pending_claim(raw):
            settle(raw, response, body=encode(response.data) if isinstance(response, Response) else None)
        return super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]

    def run_once(self, request: Request, scope: str, work: Callable[[], tuple[int, Any]]) -> Outcome:
        """Run ``work`` once for the request's idempotency key and user; see ``router.idempotency.guard.run_once``."""
        user = request.user
        subject = str(user.pk) if user is not None and user.is_authenticated else ""
        return run_once(request._request, scope=scope, subject=subject, work=work)


def as_response(outcome: Outcome) -> HttpResponseBase:
    """Return the outcome of ``run_once`` as a response, marked if it is a stored one."""
    stored = outcome.stored
    if stored is None:
        return Response(outcome.data, status=outcome.status)
    return HttpResponse(stored.body, status=stored.status, content_type=stored.content_type, headers=stored.headers)
