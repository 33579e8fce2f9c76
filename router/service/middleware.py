"""What stands before the views of a service: the client's identity, and the read-only room for shadowed requests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse

from router.fences import NotOwner, install, watched
from router.identity import HEADER, Identity
from router.identity.tokens import IdentityRejected, verify
from router.service import dryrun
from router.service.conf import conf
from router.service.headers import DRY_RUN_HEADER, NOT_OWNER_HEADER, REFUSED_HEADER, SHADOW_HEADER
from router.service.users import ServiceUser

GetResponse = Callable[[HttpRequest], HttpResponse]

IDENTITY_ATTRIBUTE = "strangler_identity"


class ServiceIdentityMiddleware:
    """Set ``request.user`` from the router's signed token, and from nothing else.

    A request without a token goes on without an identity, so that health checks and schemas can be read; views that
    need one ask for it through ``SignedIdentityAuthentication``. A token that is forged, expired or meant for another
    service is refused at once. What is asked for as a dry-run leaves nothing behind (``router.service.dryrun``).
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Verify the token and pass the request on."""
        token = request.headers.get(HEADER)
        rehearsed = DRY_RUN_HEADER in request.headers
        identity: Identity | None = None
        if token is not None or rehearsed:
            settings = conf()
            meant_for = dryrun.audience(settings.name) if rehearsed else settings.name
            try:
                identity = verify(token or "", audience=meant_for, secret=settings.secret)
            except IdentityRejected as error:
                return JsonResponse({"detail": str(error)}, status=401, headers={REFUSED_HEADER: "identity"})
        setattr(request, IDENTITY_ATTRIBUTE, identity)
        request.user = ServiceUser(identity or Identity())  # type: ignore[assignment]
        return dryrun.rehearse(request, self.get_response) if rehearsed else self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """Refuse a dry-run whose view does not support it."""
        return dryrun.before_view(request, view)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Let what has ended a dry-run not be reported as a crash."""
        return dryrun.on_exception()


class NotOwnerMiddleware:
    """Tell the router that a fence has refused the request's work, so that it may ask the owner.

    Stands first. It counts also where the view, or its framework, has made another answer of the error: nothing may be
    told to be done that was not.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        install()  # on the monolith's database a service meets fences without being a side of sync

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer 409 in place of a view that met a fence."""
        with watched() as met:
            response = self.get_response(request)
        if not met:
            return response
        refused = JsonResponse(
            {"code": "not_owner", "detail": str(met[0])},
            status=409,
            headers={NOT_OWNER_HEADER: met[0].aggregate, "Retry-After": "1"},
        )
        refused.headers["Content-Length"] = str(len(refused.content))  # so that the router keeps the connection
        return refused

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Let a refusal not be reported as a crash."""
        return HttpResponse(status=503) if isinstance(exception, NotOwner) else None


class ReadOnlyShadowMiddleware:
    """Answer a shadowed request inside a transaction that cannot write, on every database of the service."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Refuse a shadowed request that is not a read, and let the others see only."""
        if request.headers.get(SHADOW_HEADER) != "1":
            return self.get_response(request)
        if request.method not in {"GET", "HEAD"}:
            return JsonResponse({"detail": f"A shadowed {request.method} is refused: shadows only read."}, status=405)
        with read_only():
            return self.get_response(request)


@contextmanager
def read_only() -> Iterator[None]:
    """Let nothing that runs inside write to any of the databases."""
    with _all_read_only(list(connections)):
        yield


@contextmanager
def _all_read_only(aliases: list[str]) -> Iterator[None]:
    if not aliases:
        yield
        return
    with _read_only(aliases[0]), _all_read_only(aliases[1:]):
        yield


@contextmanager
def _read_only(alias: str) -> Iterator[None]:
    connection: Any = connections[alias]
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA query_only = ON")
        mode, connection.transaction_mode = connection.transaction_mode, None  # BEGIN IMMEDIATE would count as a write
        try:
            yield
        finally:
            connection.transaction_mode = mode
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA query_only = OFF")
        return
    with transaction.atomic(using=alias):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
        yield
