"""A read that the service has answered from one store is compared with another, which follows a moment later."""

import copy
import gzip
import json
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.management import call_command
from django.http import HttpResponseBase
from django.test import AsyncClient, Client

from legacy_shop.orders.api import OrdersView
from router import breaker, metrics
from router.forward import SMALL_BODY
from router.identity import HEADER
from router.identity.tokens import verify
from router.models import ShadowMismatch, TrafficCount
from router.shadow import pool
from router.testing import override_envelope, override_flag, override_killed
from tests.processes import free_port
from tests.router.raw_server import Line, raw_server
from tests.router.test_middleware import SECRET
from tests.router.upstreams import Answer, Received, Recorder, recording_upstream

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/api/orders/"
DOCUMENT = {"count": 1, "results": [{"id": 7, "total": "12.34"}]}
OTHER = {"count": 1, "results": [{"id": 7, "total": "12.35"}]}
LAG = 0.02
MAX_BYTES = 2 * SMALL_BODY


def answering(document: Any, status: int = 200, **headers: str) -> Callable[[Received], Answer]:
    """Return what lets a store answer with a document."""
    return lambda request: (status, {"Content-Type": "application/json", **headers}, json.dumps(document).encode())


failing = answering({}, status=500)


def one_after_the_other(*answers: Any) -> Callable[[Received], Answer]:
    """Return what lets a store answer with one document after the other, and then with the last again."""
    left = list(answers)
    return lambda request: answering(left.pop(0) if len(left) > 1 else left[0])(request)


def well() -> None:
    for forget in (breaker.reset, pool.reset, metrics.reset):
        forget()


@pytest.fixture
def stores(settings: Any) -> Callable[..., None]:
    """Say where the service's stores are."""

    def point(**urls: str) -> None:
        strangler = copy.deepcopy(settings.STRANGLER)
        strangler["SERVICES"]["orders"] |= {"UPSTREAMS": urls, "SECRET": SECRET}
        strangler["SHADOW"] = {"LAG_SECONDS": LAG, "MAX_BYTES": MAX_BYTES}
        settings.STRANGLER = strangler

    return point


@pytest.fixture
def diverted() -> Iterator[None]:
    """Divert everything to the store ``shared``, and copy reads to ``own``."""
    well()
    with override_envelope("orders", reads=100, writes=100, shadow=100, shadow_store="own", step="separate.shadow"):
        yield
    well()


@pytest.fixture
def shared(diverted: None) -> Iterator[Recorder]:
    with recording_upstream() as recorder:
        recorder.answer = answering(DOCUMENT)
        yield recorder


@pytest.fixture
def own(shared: Recorder, stores: Callable[..., None]) -> Iterator[Recorder]:
    with recording_upstream() as recorder:
        recorder.answer = answering(DOCUMENT)
        stores(shared=shared.url, own=recorder.url)
        yield recorder


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann", password="x")


@pytest.fixture(params=[False, True], ids=["wsgi", "asgi"])
def get(request: pytest.FixtureRequest, ann: User) -> Callable[..., HttpResponseBase]:
    """Ask as Ann's browser does, of a site with threads and of one with an event loop."""
    browser: Any = AsyncClient() if request.param else Client()
    browser.force_login(ann)

    def read(**headers: str) -> Any:
        if not request.param:
            answer = browser.get(PATH, headers=headers)
            answer.got = b"".join(answer) if answer.streaming else answer.content
            return answer
        return async_to_sync(asked)(headers)

    async def asked(headers: dict[str, str]) -> Any:
        answer = await browser.get(PATH, headers=headers)
        answer.got = b"".join([part async for part in answer]) if answer.streaming else answer.content
        return answer

    return read


def compared() -> dict[tuple[str, str, str], int]:
    """Return what comparisons came to, with which store and why, once all are done."""
    assert pool.current().drain(20)
    metrics.flush()
    rows = TrafficCount.objects.filter(side="shadow")
    return {(row.outcome, row.store, row.cause): row.count for row in rows}


class TestWhatIsCompared:
    def test_equal_answers_match(self, get: Any, shared: Recorder, own: Recorder, ann: User) -> None:
        answer = get(**{"If-None-Match": "x", "Range": "bytes=0-3"})
        assert json.loads(answer.got) == DOCUMENT
        assert compared() == {("match", "own", ""): 1}
        (request,), (copied,) = shared.received, own.received
        assert request.values("X-Strangler-Shadow") == []
        assert copied.values("X-Strangler-Shadow") == ["1"]
        assert (copied.method, copied.target) == ("GET", PATH)
        assert copied.values("If-None-Match") == copied.values("Range") == []
        assert verify(copied.values(HEADER)[0], audience="orders", secret=SECRET).subject == str(ann.pk)

    def test_what_legacy_still_answers_is_compared_with_the_same_store(
        self, get: Any, shared: Recorder, own: Recorder
    ) -> None:
        own.answer = answering({"count": 0, "page": 1, "pages": 1, "results": []})
        with override_flag("orders.reads", everyone=False):
            get()
        assert compared() == {("match", "own", ""): 1}
        assert shared.received == []

    def test_writes_and_killed_services_are_not(self, shared: Recorder, own: Recorder, ann: User) -> None:
        browser = Client()
        browser.force_login(ann)
        browser.post(PATH, {}, content_type="application/json")
        with override_killed("orders.off"):
            browser.get(PATH)
        assert (compared(), own.received) == ({}, [])

    def test_the_flag_steers_the_comparison(self, get: Any, shared: Recorder, own: Recorder) -> None:
        with override_flag("orders.shadow", percent=0):
            get()
        assert (compared(), own.received, len(shared.received)) == ({}, [], 1)

    def test_a_refusal_is_an_answer_like_any_other(self, get: Any, shared: Recorder, own: Recorder) -> None:
        shared.answer = own.answer = answering({"detail": "no"}, status=404)
        assert get().status_code == 404
        assert compared() == {("match", "own", ""): 1}

    def test_compressed_answers_are_read(self, get: Any, shared: Recorder, own: Recorder) -> None:
        packed = gzip.compress(json.dumps(DOCUMENT).encode())
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        shared.answer = lambda request: (200, headers, packed)
        assert get(**{"Accept-Encoding": "gzip"}).got == packed
        assert compared() == {("match", "own", ""): 1}
        assert own.received[0].values("Accept-Encoding") == []

    def test_what_nobody_here_can_read_is_counted(self, get: Any, shared: Recorder, own: Recorder) -> None:
        shared.answer = answering(DOCUMENT, **{"Content-Encoding": "br"})
        get(**{"Accept-Encoding": "br"})
        assert compared() == {("dropped", "own", "encoded"): 1}

    @pytest.mark.parametrize("status", [206, 304])
    def test_parts_and_confirmations_are_no_answers(
        self, get: Any, shared: Recorder, own: Recorder, status: int
    ) -> None:
        shared.answer = lambda request: (status, {}, b"")
        get()
        assert compared() == {}


class TestDifferences:
    def test_one_that_was_only_lag_is_none(self, get: Any, shared: Recorder, own: Recorder) -> None:
        own.answer = one_after_the_other(OTHER, DOCUMENT)
        assert json.loads(get().got) == DOCUMENT
        assert compared() == {("changed", "own", ""): 1}
        assert (len(own.received), len(shared.received)) == (2, 1)
        assert not ShadowMismatch.objects.exists()

    def test_one_that_stays_counts(
        self, get: Any, shared: Recorder, own: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The store that has answered is asked again, by a copy, and not the monolith."""
        monkeypatch.setattr(OrdersView, "get", lambda *args, **kwargs: pytest.fail("the monolith was asked"))
        own.answer = answering(OTHER)
        assert json.loads(get().got) == DOCUMENT
        assert compared() == {("mismatch", "own", ""): 1}
        assert [request.values("X-Strangler-Shadow") for request in shared.received] == [[], ["1"]]
        stored = ShadowMismatch.objects.get()
        assert (stored.store, stored.answered_by, stored.fields) == ("own", "shared", ["results[].total"])

    def test_the_report_names_both_stores(self, get: Any, shared: Recorder, own: Recorder) -> None:
        own.answer = answering(OTHER)
        get()
        compared()
        told = {store: StringIO() for store in ("own", "shared")}
        for store, out in told.items():
            call_command("shadow", "report", "orders", "--store", store, stdout=out)
        assert "results[0].total (value): shared '12.34', own '12.35'" in told["own"].getvalue()
        assert "inconclusive" in told["shared"].getvalue()

    def test_a_store_that_fails_is_an_error_and_not_the_clients(
        self, get: Any, shared: Recorder, own: Recorder
    ) -> None:
        own.answer = failing
        for _ in range(8):
            assert get().status_code == 200
            assert pool.current().drain(20)
        found = compared()
        assert found.pop(("dropped", "own", "breaker_open")) == 3
        assert found == {("error", "own", "status_500"): 5}
        states = {one.name: one.state for one in breaker.breakers("orders")}
        assert states == {"orders.shared": "closed", "orders.own.shadow": "open"}

    def test_without_the_first_store_nothing_is_proven(self, get: Any, shared: Recorder, own: Recorder) -> None:
        own.answer = answering(OTHER)
        shared.answer = lambda request: (answering(DOCUMENT) if len(shared.received) == 1 else failing)(request)
        get()
        assert compared() == {("dropped", "own", "shared_failed"): 1}
        assert {one.name: one.state for one in breaker.breakers("orders")}["orders.shared"] == "closed"


class TestNothingComesOfIt:
    def test_a_fallback_is_counted_and_not_compared(self, get: Any, own: Recorder, stores: Any) -> None:
        stores(shared=f"http://127.0.0.1:{free_port()}", own=own.url)
        assert get().status_code == 200
        assert compared() == {("dropped", "own", "fallback"): 1}
        assert own.received == []

    def test_a_process_that_does_not_know_the_store(self, get: Any, shared: Recorder, stores: Any) -> None:
        stores(shared=shared.url)
        assert get().status_code == 200
        assert compared() == {("dropped", "own", "misconfigured"): 1}

    def test_what_breaks_in_comparing_does_not_reach_the_client(
        self, get: Any, shared: Recorder, own: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("router.shadow.asking.raw_target", None)
        assert json.loads(get().got) == DOCUMENT
        assert own.received == []


def in_parts(*parts: bytes, end: bytes = b"0\r\n\r\n") -> Callable[[Line], None]:
    """Return an upstream that sends a body without saying how long it will be."""

    def script(line: Line) -> None:
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in parts:
            line.send(b"%x\r\n%b\r\n" % (len(part), part))
        line.send(end)

    return script


class TestStreams:
    BODY = json.dumps(DOCUMENT).encode()

    def test_are_compared_once_the_client_has_all(self, get: Any, own: Recorder, stores: Any) -> None:
        with raw_server(in_parts(self.BODY[:5], self.BODY[5:])) as server:
            stores(shared=f"http://127.0.0.1:{server.port}", own=own.url)
            assert get().got == self.BODY
            assert compared() == {("match", "own", ""): 1}

    def test_are_not_waited_for(self, own: Recorder, stores: Any, ann: User) -> None:
        """The client has a part, and the copy was not asked for, before the next part is sent."""
        browser = Client()
        browser.force_login(ann)
        with raw_server(in_parts(self.BODY[:5], self.BODY[5:])) as server:
            stores(shared=f"http://127.0.0.1:{server.port}", own=own.url)
            parts = iter(browser.get(PATH).streaming_content)
            assert next(parts) == self.BODY[:5]
            assert pool.current().drain(0)
            assert own.received == []
            assert b"".join(parts) == self.BODY[5:]
            assert compared() == {("match", "own", ""): 1}

    def test_that_are_too_long_are_passed_on_and_counted(self, get: Any, own: Recorder, stores: Any) -> None:
        parts = [b"x" * SMALL_BODY] * 3
        with raw_server(in_parts(*parts)) as server:
            stores(shared=f"http://127.0.0.1:{server.port}", own=own.url)
            assert len(get().got) == 3 * SMALL_BODY
            assert compared() == {("dropped", "own", "too_large"): 1}
        assert own.received == []

    def test_that_nobody_reads_to_the_end_are_counted(self, own: Recorder, stores: Any, ann: User) -> None:
        browser = Client()
        browser.force_login(ann)
        with raw_server(in_parts(self.BODY[:5], self.BODY[5:])) as server:
            stores(shared=f"http://127.0.0.1:{server.port}", own=own.url)
            answer = browser.get(PATH)
            next(iter(answer.streaming_content))
            answer.close()
            assert compared() == {("dropped", "own", "incomplete"): 1}
        assert own.received == []
