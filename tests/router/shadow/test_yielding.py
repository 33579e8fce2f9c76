"""Comparisons give way to requests of their process, but not for ever."""

import pickle
import threading
from collections.abc import Iterator
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import RequestFactory

from router.middleware import StranglerMiddleware
from router.shadow import yielding
from router.shadow.compare import Answer
from router.shadow.runner import Job, Verdict, run
from router.shadow.yielding import Answering, give_way, giving_way, waiting
from tests.processes import wait_until


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count the requests of this test only: one of another may still be under way, or its answer be kept."""
    monkeypatch.setattr(yielding, "_answering", yielding._Answering())


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yielding, "PATIENCE_SECONDS", 30)


@pytest.fixture
def page() -> Iterator["Page"]:
    found = Page()
    yield found
    found.go.set()
    for visitor in found.visitors:
        visitor.join(30)


class Page:
    """A view of no route that takes until it is told to end."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.visitors: list[threading.Thread] = []

    def __call__(self, request: HttpRequest) -> HttpResponse:
        self.begun.set()
        assert self.go.wait(30)
        return HttpResponse("done")

    def visit(self) -> threading.Thread:
        thread = threading.Thread(target=lambda: StranglerMiddleware(self)(RequestFactory().get("/of-no-route/")))
        thread.start()
        self.visitors.append(thread)
        assert self.begun.wait(30)
        return thread


GIVEN = Answer(status=200, content_type="text/plain", body=b"a")
JOB = Job(
    service="orders",
    store="shared",
    route="list",
    method="GET",
    path="/",
    given=GIVEN,
    ask_copy=lambda: GIVEN,
    ask_again=lambda: GIVEN,
)


def comparison(happened: list[str]) -> threading.Thread:
    """Begin a comparison, which notes when it asks for its copy."""

    def copy() -> Answer:
        happened.append("copied")
        return GIVEN

    job = replace(JOB, ask_copy=copy)
    thread = threading.Thread(target=lambda: run(job))
    thread.start()
    return thread


def test_a_comparison_waits_for_the_end_of_a_request(patient: None, page: Page) -> None:
    happened: list[str] = []
    request = page.visit()
    compared = comparison(happened)
    wait_until(lambda: waiting() == 1, "the comparison waits", 30)
    assert happened == []
    page.go.set()
    request.join(30)
    compared.join(30)
    assert happened == ["copied"]


def test_the_service_is_not_blamed_for_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long it took for its answer is told to people, who would look for the reason there."""
    monkeypatch.setattr(yielding, "PATIENCE_SECONDS", 0.5)
    with Answering():
        verdict = run(JOB)
    assert isinstance(verdict, Verdict)
    assert yielding.waited() > 0.5
    assert verdict.seconds < 0.4


def test_one_that_takes_long_is_not_waited_for(page: Page) -> None:
    page.visit()
    began = monotonic()
    assert not give_way()
    assert monotonic() - began < 10


def test_the_last_of_several_counts(patient: None) -> None:
    done: list[Any] = []
    with Answering():
        with Answering():
            other = threading.Thread(target=lambda: done.append(give_way()))
            other.start()
            wait_until(lambda: waiting() == 1, "a thread waits", 30)
        assert (waiting(), done) == (1, [])
    other.join(30)
    assert done == [True]


def test_it_lasts_until_the_answer_has_been_sent() -> None:
    """Servers close it then; they write it with code that shares the interpreter, too."""
    answer = StranglerMiddleware(lambda request: HttpResponse("done"))(RequestFactory().get("/of-no-route/"))
    assert not give_way()
    answer.close()
    assert give_way()


def test_an_answer_that_nobody_closes_is_over_when_it_is_forgotten() -> None:
    StranglerMiddleware(lambda request: HttpResponse("done"))(RequestFactory().get("/of-no-route/"))
    assert give_way()


def test_a_cache_may_keep_the_answer() -> None:
    answer = StranglerMiddleware(lambda request: HttpResponse("done"))(RequestFactory().get("/of-no-route/"))
    kept = pickle.loads(pickle.dumps(answer))
    kept.close()
    assert (kept.content, give_way()) == (b"done", False)
    answer.close()
    assert give_way()


def test_the_garbage_collector_may_come_in_anywhere() -> None:
    """It counts answers that were forgotten, also for a thread that is counting."""
    answering = Answering()
    with yielding._answering._none:
        answering.end()
    assert give_way()


def test_a_stream_is_not_waited_for() -> None:
    page = StranglerMiddleware(lambda request: StreamingHttpResponse(iter([b"a"])))
    answer = page(RequestFactory().get("/of-no-route/"))
    assert give_way()
    answer.close()


def test_a_request_that_fails_is_over_as_well() -> None:
    with pytest.raises(ZeroDivisionError), Answering():
        raise ZeroDivisionError
    assert give_way()


@pytest.mark.django_db(transaction=True)
class TestAViewThatIsRunForAComparison:
    def test_it_gives_way_before_each_query(self, patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(yielding, "PATIENCE_WITH_A_VIEW", 60)
        found: list[int] = []

        def view() -> None:
            try:
                with giving_way():
                    begun.set()
                    assert go.wait(30)
                    found.append(Group.objects.count())
            finally:
                connections.close_all()

        begun, go = threading.Event(), threading.Event()
        viewing = threading.Thread(target=view)
        viewing.start()
        assert begun.wait(30)
        with Answering():
            go.set()
            wait_until(lambda: waiting() == 1, "the query waits", 30)
            assert found == []
        viewing.join(30)
        assert found == [0]

    def test_its_patience_is_for_the_whole_of_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A site that is never idle gets its comparisons all the same, and no transaction stays open for long."""
        monkeypatch.setattr(yielding, "PATIENCE_WITH_A_VIEW", 0.01)
        with Answering(), giving_way():
            began = monotonic()
            for _ in range(200):
                Group.objects.exists()
        assert monotonic() - began < 200 * yielding.PATIENCE_SECONDS / 2

    def test_queries_of_others_are_not_held_up(self) -> None:
        with giving_way():
            pass
        assert not any(isinstance(one, yielding._BetweenQueries) for one in connection.execute_wrappers)
