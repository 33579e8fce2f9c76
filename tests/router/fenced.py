"""A fence as sync makes them, around the groups of Django's own auth app; and views that meet it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from router.fences import SQLSTATE, HeldAs, message
from router.idempotency.views import once
from router.routes import FromPath, Route, Scatter

POSTGRESQL = """
CREATE FUNCTION test_fence() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.name LIKE 'note %%' THEN RETURN NEW; END IF;
    RAISE EXCEPTION USING ERRCODE = '{sqlstate}', MESSAGE = '{message}';
END $$;
CREATE TRIGGER test_fence BEFORE INSERT ON auth_group FOR EACH ROW EXECUTE FUNCTION test_fence();
"""
SQLITE = """
CREATE TRIGGER test_fence BEFORE INSERT ON auth_group WHEN NEW.name NOT LIKE 'note %%'
BEGIN SELECT RAISE(ABORT, '{message}'); END;
"""


def put_up(state: HeldAs = "replica", *, aggregate: str = "orders", bucket: str = "?") -> None:
    """Let nobody add a group any more, but for notes, which are not fenced."""
    text = {"message": message(aggregate, bucket, state, "not here"), "sqlstate": SQLSTATE}
    template = POSTGRESQL if connection.vendor == "postgresql" else SQLITE
    with connection.cursor() as cursor:
        cursor.execute(template.format(**text).replace("%%", "%"))


def take_down() -> None:
    """Let groups be added again."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("DROP TRIGGER IF EXISTS test_fence ON auth_group")
            cursor.execute("DROP FUNCTION IF EXISTS test_fence")
        else:
            cursor.execute("DROP TRIGGER IF EXISTS test_fence")


@contextmanager
def fenced(state: HeldAs = "replica", **more: str) -> Iterator[None]:
    """Have the fence for the length of the block."""
    put_up(state, **more)
    try:
        yield
    finally:
        take_down()


def names() -> list[str]:
    """Return which groups there are."""
    return sorted(Group.objects.values_list("name", flat=True))


# --- views ---------------------------------------------------------------------------------------------------
def _made(request: HttpRequest) -> HttpResponse:
    name = request.POST.get("name") or request.body.decode() or "a"
    Group.objects.create(name=name)
    return HttpResponse(f"legacy made {name}", status=201)


@csrf_exempt
def make(request: HttpRequest, owner: int = 0) -> HttpResponse:
    """Add a group."""
    return _made(request)


@csrf_exempt
def swallow(request: HttpRequest, owner: int) -> HttpResponse:
    """Add a group, and say that it went well whatever the database says."""
    try:
        with transaction.atomic():
            return _made(request)
    except DatabaseError:
        return HttpResponse("all well")


@csrf_exempt
@once("orders")
def swallow_once(request: HttpRequest, owner: int) -> HttpResponse:
    """The same, under the request's key, after a note that nobody refuses."""
    Group.objects.create(name="note 1")
    return swallow(request, owner)


def show(request: HttpRequest, owner: int = 0) -> HttpResponse:
    """Tell who answers."""
    return HttpResponse("legacy shows")


urlpatterns = [
    path("groups/<int:owner>/", make),
    path("final/<int:owner>/", make),
    path("swallow/<int:owner>/", swallow),
    path("once/<int:owner>/", swallow_once),
    path("show/<int:owner>/", show),
    path("all/", show),
    path("batch/", make),
]


def _route(name: str, method: str = "POST", **more: Any) -> Route:
    declared = {"key": FromPath("owner"), "pattern": f"/{name}/<int:owner>/", **more}
    return Route(service="orders", name=name, methods=(method,), **declared)


ROUTES = (
    _route("groups", replayable=True),
    _route("final"),
    _route("swallow", replayable=True),
    _route("once", replayable=True),
    _route("show", "GET"),
    _route("all", "GET", key=Scatter(), pattern="/all/"),
    _route("batch", key=Scatter(), pattern="/batch/", replayable=True),
)
