"""The other direction: the service has answered, and legacy's own view is asked the same, without a chance to write."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group, User
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.test import AsyncClient, Client
from django.test.client import RequestFactory
from django.urls import path

from router import breaker, metrics
from router.ahead import StranglerApplication
from router.models import ShadowMismatch, TrafficCount
from router.routes import Route, Scatter
from router.shadow import pool
from router.testing import override_envelope, override_ownership, override_routes
from router.wsgi import get_wsgi_application
from tests.router.raw_server import Line, raw_server
from tests.router.test_middleware import point_to
from tests.router.upstreams import Recorder, recording_upstream

pytestmark = pytest.mark.django_db(databases="__all__", transaction=True)

DOCUMENT = {"who": "ann", "page": "2"}
HUGE = 100 * 1_048_576
CALM: Any = {"raise_request_exception": False}
"""A view that fails in a copy does so in another thread, and the test client cannot tell whose error it hears of."""


def page(request: HttpRequest, number: str = "2") -> HttpResponse:
    return HttpResponse(
        json.dumps({"who": request.user.get_username(), "page": number}),
        content_type="application/json",
    )


def writing(request: HttpRequest) -> HttpResponse:
    Group.objects.create(name="read")
    return page(request)


def streaming(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse([b"x"])


def huge(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"x" * HUGE)


def huge_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(b"x" * 1_048_576 for _ in range(100))


def failing(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=500)


VIEWS: dict[str, Callable[..., HttpResponseBase]] = {
    "page/<str:number>": page,
    "writing": writing,
    "streaming": streaming,
    "huge": huge,
    "huge-stream": huge_stream,
    "failing": failing,
}
urlpatterns = [path(f"{name}/", view) for name, view in VIEWS.items()]
ROUTES = [
    Route(service="orders", name=name, pattern=f"/{name}/", key=Scatter(), public=view is page,
          shadow_back_percent=100) for name, view in VIEWS.items()
]  # fmt: skip


@pytest.fixture(autouse=True)
def site(settings: Any) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    for forget in (breaker.reset, pool.reset, metrics.reset):
        forget()
    with override_routes(*ROUTES):
        yield
    for forget in (breaker.reset, pool.reset, metrics.reset):
        forget()


@pytest.fixture
def service(settings: Any) -> Iterator[Recorder]:
    with recording_upstream() as recorder, override_envelope("orders", reads=100, shadow=100):
        point_to(settings, recorder.url)
        recorder.answer = lambda request: (
            200,
            {"Content-Type": "application/json"},
            json.dumps(DOCUMENT).encode(),
        )
        yield recorder


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann", password="x")


@pytest.fixture(params=["wsgi", "asgi"])
def get(request: pytest.FixtureRequest, ann: User) -> Callable[[str], Any]:
    """Ask as Ann's browser does, of a site with threads and of one with an event loop."""
    browser: Any = AsyncClient(**CALM) if request.param == "asgi" else Client(**CALM)
    browser.force_login(ann)
    return async_to_sync(browser.get) if request.param == "asgi" else browser.get


def compared() -> dict[tuple[str, str, str], int]:
    """Return what comparisons came to, who got the copy, and why."""
    assert pool.current().drain(20)
    metrics.flush()
    rows = TrafficCount.objects.filter(side="shadow")
    return {(row.outcome, row.store, row.cause): row.count for row in rows}


def test_legacy_is_asked_as_the_same_client(service: Recorder, get: Any) -> None:
    assert get("/page/2/").json() == DOCUMENT
    assert compared() == {("match", "legacy", ""): 1}
    assert len(service.received) == 1, "the service is not asked again"


def test_a_difference_that_stays_says_who_answered(service: Recorder, get: Any) -> None:
    assert get("/page/3/").status_code == 200
    assert compared() == {("mismatch", "legacy", ""): 1}
    row = ShadowMismatch.objects.get()
    assert (row.answered_by, row.store, row.fields) == ("shared", "legacy", ["page"])


def test_a_copy_writes_nothing(service: Recorder, get: Any) -> None:
    """The view fails in the copy; that counts as an error of legacy's, and is no customer's."""
    assert get("/writing/").status_code == 200
    assert compared() == {("error", "legacy", "status_500"): 1}
    assert not Group.objects.exists()


@pytest.mark.parametrize(("name", "cause"), [("streaming", "streamed"), ("huge", "too_large")])
def test_what_legacy_answers_and_cannot_be_compared(service: Recorder, get: Any, name: str, cause: str) -> None:
    assert get(f"/{name}/").status_code == 200
    assert compared() == {("dropped", "legacy", cause): 1}


def test_a_failing_legacy_switches_its_copies_off_and_nothing_else(service: Recorder, ann: User) -> None:
    for _ in range(7):
        assert Client(**CALM).get("/failing/").status_code == 200
        assert pool.current().drain(20)
    assert compared() == {("error", "legacy", "status_500"): 5, ("dropped", "legacy", "breaker_open"): 2}
    assert {one.name: one.state for one in breaker.breakers("orders")} == {
        "orders.shared": "closed",
        "orders.legacy.shadow": "open",
    }


def test_of_what_the_service_owns_legacy_has_a_copy_that_follows(settings: Any, ann: User) -> None:
    with (
        recording_upstream() as own,
        override_envelope("orders", reads=100, shadow=100, shadow_store="legacy"),
        override_ownership("orders", extracted=range(100)),
    ):
        point_to(settings, own.url)
        strangler = {**settings.STRANGLER, "SHADOW": {"LAG_SECONDS": 0.02}}
        strangler["SERVICES"]["orders"]["UPSTREAMS"] = {"own": own.url}
        settings.STRANGLER = strangler
        answers = [{"who": "", "page": "1"}, {"who": "", "page": "2"}]
        own.answer = lambda request: (
            200,
            {"Content-Type": "application/json"},
            json.dumps(answers[min(len(own.received), 2) - 1]).encode(),
        )
        Client().get("/page/2/")
        assert compared() == {("changed", "legacy", ""): 1}


def test_ahead_of_django_its_own_application_is_asked(service: Recorder) -> None:
    environ = RequestFactory().get("/page/2/", headers={"Accept-Encoding": "gzip"}).environ
    service.answer = lambda request: (
        200,
        {"Content-Type": "application/json"},
        json.dumps({"who": "", "page": "2"}).encode(),
    )
    started: list[str] = []
    application = get_wsgi_application()
    assert isinstance(application, StranglerApplication)
    body = b"".join(application(environ, lambda status, headers: started.append(status)))
    assert (started, json.loads(body)) == (["200 OK"], {"who": "", "page": "2"})
    assert compared() == {("match", "legacy", ""): 1}
    assert TrafficCount.objects.filter(side="legacy").count() == 0, "no client was answered by legacy"


class TestHundredMegabytes:
    def test_that_legacy_answers(self, ann: User) -> None:
        """Neither a body in one piece nor a stream is copied, queued or held back."""
        with override_envelope("orders", shadow=100):
            assert len(Client().get("/huge/").content) == HUGE
            streamed = Client().get("/huge-stream/")
            assert sum(map(len, streamed.streaming_content)) == HUGE
            assert compared() == {("dropped", "shared", "too_large"): 1, ("dropped", "shared", "streamed"): 1}
            assert pool.current().budget.held == 0

    def test_that_the_service_streams(self, settings: Any) -> None:
        def script(line: Line) -> None:
            line.request()
            line.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % HUGE)
            for _ in range(100):
                line.send(b"x" * 1_048_576)

        with raw_server(script) as server, override_envelope("orders", reads=100, shadow=100):
            point_to(settings, f"http://127.0.0.1:{server.port}")
            answer = Client().get("/page/2/")
            most = 0
            length = 0
            for part in answer.streaming_content:
                length += len(part)
                most = max(most, pool.current().budget.held)
            assert length == HUGE
            assert most <= pool.current().settings.max_bytes
            assert compared() == {("dropped", "legacy", "too_large"): 1}
            assert pool.current().budget.held == 0
