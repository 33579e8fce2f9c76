"""What stands before the views of a service: the client's identity, and the read-only room for shadowed requests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse

from router.identity import HEADER, Identity
from router.identity.tokens import IdentityRejected, verify
from router.service.conf import conf
from router.service.headers import REFUSED_HEADER, SHADOW_HEADER
from router.service.users import ServiceUser

GetResponse = Callable[[HttpRequest], HttpResponse]

IDENTITY_ATTRIBUTE = "strangler_identity"


class ServiceIdentityMiddleware:
    """Set ``request.user`` from the router's signed token, and from nothing else.

    A request without a token goes on without an identity, so that health checks and schemas can be read; views that
    need one ask for it through ``SignedIdentityAuthentication``. A token that is forged, expired or meant for another
    service is refused at once.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Verify the token and pass the request on."""
        token = request.headers.get(HEADER)
        identity: Identity | None = None
        if token is not None:
            settings = conf()
            try:
                identity = verify(token, audience=settings.name, secret=settings.secret)
            except IdentityRejected as error:
                return JsonResponse({"detail": str(error)}, status=401, headers={REFUSED_HEADER: "identity"})
        setattr(request, IDENTITY_ATTRIBUTE, identity)
        request.user = ServiceUser(identity or Identity())  # type: ignore[assignment]
        return self.get_response(request)


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
    connection = connections[alias]
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA query_only = ON")
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA query_only = OFF")
        return
    with transaction.atomic(using=alias):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
        yield
