"""Public reads ahead of Django: forwarded without a middleware, and answered by legacy where the service cannot."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import RequestFactory

from router import breaker, metrics
from router.ahead import StranglerApplication
from router.forward import close_all
from router.identity import HEADER, Identity
from router.identity.tokens import verify
from router.models import TrafficCount
from router.routes import Route, Scatter
from router.shadow import pool
from router.testing import override_envelope, override_flag, override_routes
from tests.processes import free_port
from tests.router.test_middleware import SECRET, point_to
from tests.router.upstreams import Recorder, recording_upstream

PUBLIC = Route(service="orders", name="shelf", methods=("GET",), pattern="/api/products/", key=Scatter(), public=True)
PRIVATE = Route(service="orders", name="own", methods=("GET",), pattern="/api/cart/", key=Scatter())
WRITE = Route(service="orders", name="write", methods=("POST",), pattern="/api/products/", key=Scatter(), public=True)

pytestmark = pytest.mark.django_db


class Asked:
    """One request through the wrapped application, and what became of it."""

    def __init__(self, method: str = "GET", path: str = "/api/products/", **headers: str) -> None:
        self.through_django = False
        environ = RequestFactory(headers=headers).generic(method, path).environ
        environ["wsgi.errors"] = io.StringIO()
        body = StranglerApplication(self.django)(environ, self.start_response)
        self.body = b"".join(body)
        if hasattr(body, "close"):
            body.close()

    def django(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Stand for the project, and be it."""
        self.through_django = True
        return WSGIHandler()(environ, start_response)

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        """Keep what the server would send."""
        self.status, self.headers = int(status.split()[0]), headers

    def header(self, name: str) -> str | None:
        """Return a header of the answer."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@pytest.fixture(autouse=True)
def routes() -> Iterator[None]:
    """Declare the routes, begin and end with closed breakers."""
    breaker.reset()
    # The test's connection, and its transaction, have to outlive a request; Django's own test client does the same.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    with override_routes(PUBLIC, PRIVATE, WRITE):
        yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)
    breaker.reset()
    close_all()


@pytest.fixture
def upstream(settings) -> Iterator[Recorder]:
    """Divert everything to a service that records."""
    with recording_upstream() as recorder, override_envelope("orders", reads=100, writes=100):
        point_to(settings, recorder.url, DEBUG_HEADERS=True)
        yield recorder


def test_a_public_read_never_reaches_django(upstream: Recorder) -> None:
    asked = Asked()
    assert (asked.status, asked.body, asked.through_django) == (200, b'{"by":"it"}', False)
    assert asked.header("X-Strangler-Side") == "extracted"


def test_the_service_is_told_that_it_is_anybody(upstream: Recorder) -> None:
    Asked(**{HEADER: "forged", "Cookie": "sessionid=x"})
    (token,) = upstream.received[0].values(HEADER)
    assert verify(token, audience="orders", secret=SECRET) == Identity()


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/cart/"), ("POST", "/api/products/"), ("GET", "/")])
def test_everything_else_goes_through_django(upstream: Recorder, method: str, path: str) -> None:
    assert Asked(method, path).through_django


def test_a_host_that_is_not_ours_is_djangos_to_refuse(upstream: Recorder) -> None:
    """A service that allows every host would build its links for whatever name the client made up."""
    asked = Asked(Host="evil.example")
    assert (asked.status, asked.through_django, upstream.received) == (400, True, [])


def test_what_depends_on_the_client_is_djangos(upstream: Recorder) -> None:
    with override_flag("orders.reads", staff=True, percent=0):
        assert Asked().through_django
    with override_envelope("orders", reads=50):
        assert Asked().through_django
    assert upstream.received == []


def test_a_service_that_is_down_is_asked_once_and_legacy_answers(settings) -> None:
    point_to(settings, f"http://127.0.0.1:{free_port()}", DEBUG_HEADERS=True)
    with override_envelope("orders", reads=100):
        asked = Asked()
    assert (asked.status, asked.through_django) == (200, True)
    assert asked.header("X-Strangler-Side") == "legacy"
    assert str(asked.header("X-Strangler-Reason")).endswith("fallback:not-sent-connect_refused")


def test_a_server_error_is_answered_by_legacy_without_a_second_try(upstream: Recorder) -> None:
    upstream.answer = lambda request: (500, {}, b"broken")
    asked = Asked()
    assert (asked.status, asked.through_django, len(upstream.received)) == (200, True, 1)


def test_a_client_cannot_pretend_that_the_service_failed(upstream: Recorder) -> None:
    assert not Asked(**{"strangler.failed_ahead": "x", "Strangler-Failed-Ahead": "x"}).through_django


@pytest.mark.django_db(transaction=True)
def test_a_public_read_is_compared_with_another_store(settings) -> None:
    for forget in (pool.reset, metrics.reset):
        forget()
    with recording_upstream() as shared, recording_upstream() as own:
        point_to(settings, shared.url)
        settings.STRANGLER["SERVICES"]["orders"]["UPSTREAMS"]["own"] = own.url
        settings.STRANGLER = {**settings.STRANGLER, "SHADOW": {"LAG_SECONDS": 0.02}}
        own.answer = lambda request: (200, {"Content-Type": "application/json"}, b'{"by":"another"}')
        with override_envelope("orders", reads=100, shadow=100, shadow_store="own"):
            asked = Asked()
        assert (asked.body, asked.through_django) == (b'{"by":"it"}', False)
        assert pool.current().drain(20)
    metrics.flush()
    rows = TrafficCount.objects.filter(side="shadow").values_list("route", "store", "outcome")
    assert list(rows) == [("shelf", "own", "mismatch")]
    (token,) = own.received[0].values(HEADER)
    assert verify(token, audience="orders", secret=SECRET) == Identity()
    for forget in (pool.reset, metrics.reset):
        forget()
