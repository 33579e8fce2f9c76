"""What happens to requests: the service's answer, legacy's where there is none, and each write once."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from router import metrics
from router.idempotency.claims import claim
from router.idempotency.models import IdempotencyKey
from router.identity import HEADER, Identity
from router.identity.tokens import verify
from router.models import ShadowMismatch, TrafficCount
from router.shadow import pool
from router.testing import override_envelope, override_flag
from tests.core.fixtures import SECRET
from tests.core.port import Project
from tests.router.upstreams import Received, Recorder

pytestmark = pytest.mark.django_db(databases="__all__")
ROUTER = "router.middleware.StranglerMiddleware"
ENGINES = ["django.contrib.sessions.backends." + name for name in ("signed_cookies", "cache", "db")]


@pytest.fixture(params=ENGINES)
def sessions(request: pytest.FixtureRequest, settings: Any) -> None:
    """Keep sessions in each place where they may be."""
    settings.SESSION_ENGINE = request.param


@pytest.mark.usefixtures("sessions", "diverted")
class TestDiverted:
    def test_the_service_learns_who_asks(self, project: Project, upstream: Recorder, client: Client, ann: Any) -> None:
        assert client.get(project.path).json() == {"by": "it"}
        (token,) = upstream.received[0].values(HEADER)
        assert verify(token, audience=project.service, secret=SECRET) == Identity(subject=str(ann.pk), kind="session")

    def test_a_browser_needs_its_csrf_token(
        self, project: Project, upstream: Recorder, client: Client, ann: Any
    ) -> None:
        browser = project.client_of(ann, enforce_csrf_checks=True)
        assert project.write(browser).status_code == 403
        assert upstream.received == []
        browser.get(project.token_path)
        assert project.write(browser, **{"X-CSRFToken": browser.cookies["csrftoken"].value}).status_code == 200

    def test_what_belongs_to_no_route_stays(self, project: Project, upstream: Recorder, client: Client) -> None:
        assert "X-Strangler-Side" not in client.get(project.outside)
        assert upstream.received == []


@pytest.mark.usefixtures("diverted")
class TestFallback:
    def test_legacy_answers_what_was_not_sent(self, project: Project, down: None, client: Client) -> None:
        assert client.get(project.path).status_code == 200
        assert (project.write(client).status_code, project.written()) == (201, 1)

    def test_a_retry_with_its_key_takes_effect_once(self, project: Project, down: None, client: Client) -> None:
        first, second = (project.write(client, **{"Idempotency-Key": "mine"}) for _ in range(2))
        assert (first.status_code, second.status_code, project.written()) == (201, 201, 1)
        assert first.content == second.content
        assert second["Idempotency-Replayed"] == "true"

    def test_a_service_that_gave_no_answer_cannot_commit_any_more(
        self, project: Project, upstream: Recorder, client: Client, ann: Any
    ) -> None:
        upstream.answer = lambda _: (500, {}, b"")
        assert project.write(client).status_code == 201
        (key,) = upstream.received[0].values("Idempotency-Key")
        row = IdempotencyKey.objects.get(key=key)
        assert (row.state, row.subject, row.status) == ("done", str(ann.pk), 201)
        late = claim(scope=project.service, subject=str(ann.pk), key=key, fingerprint=row.fingerprint)
        assert json.loads(late.body)
        assert project.written() == 1

    def test_an_answer_that_the_service_left_with_the_key_is_given(
        self, project: Project, upstream: Recorder, client: Client, ann: Any
    ) -> None:
        def commit_then_break(request: Received) -> tuple[int, dict[str, str], bytes]:
            held = claim(scope=project.service, subject=str(ann.pk), key="k", fingerprint=fingerprint)
            held.complete(  # type: ignore[union-attr]
                status=302, content_type="text/plain", body=b"done", location="/there/"
            )
            return 500, {}, b""

        project.write(client, **{"Idempotency-Key": "k"})  # the answer to this is of no matter, its fingerprint is
        upstream.answer = lambda _: (500, {}, b"")
        project.write(client, **{"Idempotency-Key": "other"})
        fingerprint = IdempotencyKey.objects.get(key="other").fingerprint
        before = project.written()
        commit_then_break(upstream.received[0])
        answer = project.write(client, **{"Idempotency-Key": "k"})
        assert (answer.status_code, answer.content, answer["Location"]) == (302, b"done", "/there/")
        assert project.written() == before


@pytest.mark.django_db(databases="__all__", transaction=True)
class TestAtOnce:
    def test_of_many_with_one_key_one_takes_effect(self, project: Project, client: Client, ann: Any) -> None:
        statuses: list[int] = []
        begin = threading.Barrier(4)

        def write() -> None:
            try:
                mine = project.client_of(ann)
                begin.wait(10)
                statuses.append(project.write(mine, **{"Idempotency-Key": "one"}).status_code)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert project.written() == 1
        assert len(statuses) == 4
        assert set(statuses) <= {201, 409}


@pytest.fixture
def compared(project: Project) -> Iterator[None]:
    with override_envelope(project.service, shadow=100):
        yield


def outcomes() -> dict[str, int]:
    assert pool.current().drain(20)
    metrics.flush()
    return dict(TrafficCount.objects.filter(side="shadow").values_list("outcome", "count"))


@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.usefixtures("sessions", "compared")
class TestShadow:
    def test_equal_answers_match(self, project: Project, upstream: Recorder, client: Client) -> None:
        with override_envelope(project.service):
            same = client.get(project.path)
        upstream.answer = lambda _: (200, {"Content-Type": same["Content-Type"]}, same.content)
        assert client.get(project.path).content == same.content
        assert outcomes() == {"match": 1}

    def test_a_difference_that_stays_is_stored(self, project: Project, upstream: Recorder, client: Client) -> None:
        """Legacy is asked once more, with the session it was asked with."""
        upstream.answer = lambda _: (200, {"Content-Type": "application/json"}, b'{"other": 1}')
        assert client.get(project.path).status_code == 200
        assert outcomes() == {"mismatch": 1}
        assert ShadowMismatch.objects.count() == 1


@contextmanager
def steered(service: str, way: str) -> Iterator[None]:
    """Steer in a way that leaves Ann in legacy, with less or more to be looked up for it."""
    with ExitStack() as stack:
        if way == "shadowed":
            stack.enter_context(override_envelope(service, shadow=100))
        elif way == "for others":
            stack.enter_context(override_envelope(service, reads=100, writes=100))
            for channel in ("reads", "writes"):
                stack.enter_context(override_flag(f"{service}.{channel}", users={"somebody else"}))
        yield


@pytest.mark.usefixtures("sessions")
@pytest.mark.parametrize("way", ["not at all", "for others", "shadowed"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_that_stays_costs_no_query_more(
    project: Project, client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch, way: str, method: str
) -> None:
    monkeypatch.setattr(pool, "submit", lambda job: True)
    with steered(project.service, way):
        with_router = _queries(client, method, project.path)
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != ROUTER]
    client.handler.load_middleware()
    assert _queries(client, method, project.path) == with_router


def _queries(client: Client, method: str, path: str) -> dict[str, int]:
    with ExitStack() as stack:
        captured = {alias: stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in connections}
        client.generic(method, path, b'{"book": "Emma"}', content_type="application/json")
    return {alias: len(queries) for alias, queries in captured.items()}
