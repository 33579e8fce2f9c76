"""A read that legacy has answered is compared with the service's answer, and the client never notices."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.authtoken.models import Token

from router import breaker, metrics
from router.identity import HEADER, Identity
from router.identity.tokens import verify
from router.models import ShadowMismatch, TrafficCount
from router.shadow import pool
from router.testing import override_envelope
from tests.router.test_middleware import SECRET, point_to
from tests.router.upstreams import Answer, Received, Recorder, recording_upstream

pytestmark = pytest.mark.django_db(transaction=True)

LEGACYS_ANSWER = {"count": 0, "page": 1, "pages": 1, "results": []}


@pytest.fixture
def upstream(settings) -> Iterator[Recorder]:
    """Compare every read with a service that answers as told."""
    for forget in (breaker.reset, pool.reset, metrics.reset):
        forget()
    with recording_upstream() as recorder, override_envelope("orders", shadow=100):
        point_to(settings, recorder.url)
        yield recorder
    for forget in (breaker.reset, pool.reset, metrics.reset):
        forget()


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ann", password="x")


@pytest.fixture
def client(user: User) -> Client:
    return Client(headers={"Authorization": f"Token {Token.objects.create(user=user).key}"})


def answering(document: Any, status: int = 200) -> Any:
    """Return what lets the service answer with a document."""

    def answer(request: Received) -> Answer:
        return status, {"Content-Type": "application/json"}, json.dumps(document).encode()

    return answer


def compared() -> dict[str, int]:
    """Return how many comparisons came to what, once all are done."""
    assert pool.current().drain(20)
    metrics.flush()
    return dict(TrafficCount.objects.filter(side="shadow").values_list("outcome", "count"))


def test_equal_answers_match(upstream: Recorder, client: Client, user: User) -> None:
    upstream.answer = answering(LEGACYS_ANSWER)
    assert (
        client.get("/api/orders/", headers={"Accept-Encoding": "gzip", "If-None-Match": "x"}).json() == LEGACYS_ANSWER
    )
    assert compared() == {"match": 1}
    (request,) = upstream.received
    assert request.values("X-Strangler-Shadow") == ["1"]
    assert request.values("Accept-Encoding") == request.values("If-None-Match") == []
    (token,) = request.values(HEADER)
    assert verify(token, audience="orders", secret=SECRET) == Identity(subject=str(user.pk), kind="token")


def test_a_difference_that_stays_is_stored_with_its_field(upstream: Recorder, client: Client) -> None:
    """Both sides are asked again first: service, legacy, service."""
    upstream.answer = answering({**LEGACYS_ANSWER, "count": 1})
    assert client.get("/api/orders/").json() == LEGACYS_ANSWER
    assert compared() == {"mismatch": 1}
    assert len(upstream.received) == 3
    assert "count" in json.dumps(ShadowMismatch.objects.get().differences)


def test_an_answer_that_has_changed_meanwhile_is_no_mismatch(upstream: Recorder, client: Client) -> None:
    def behind_at_first(request: Received) -> Answer:
        stale = len(upstream.received) == 1
        return answering({**LEGACYS_ANSWER, "count": 1 if stale else 0})(request)

    upstream.answer = behind_at_first
    client.get("/api/orders/")
    assert compared() == {"changed": 1}
    assert ShadowMismatch.objects.get().outcome == ShadowMismatch.UNSTEADY


def test_a_service_that_fails_is_an_error_and_not_the_clients(upstream: Recorder, client: Client) -> None:
    upstream.answer = answering({}, status=500)
    assert client.get("/api/orders/").status_code == 200
    assert compared() == {"error": 1}


def test_a_session_is_asked_again_as_itself(upstream: Recorder, user: User) -> None:
    browser = Client()
    browser.force_login(user)
    upstream.answer = answering({**LEGACYS_ANSWER, "count": 1})
    assert browser.get("/api/orders/").status_code == 200
    assert compared() == {"mismatch": 1}


def test_what_breaks_in_comparing_does_not_reach_the_client(
    upstream: Recorder, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(job: Any) -> bool:
        raise RuntimeError("no room")

    monkeypatch.setattr(pool, "submit", broken)
    assert client.get("/api/orders/").json() == LEGACYS_ANSWER


def test_writes_and_strangers_credentials_are_not_shadowed(upstream: Recorder, client: Client) -> None:
    client.post("/api/orders/7/cancel/", {}, content_type="application/json")
    Client(headers={"Authorization": "Token wrong"}).get("/api/orders/")
    assert compared() == {}
    assert upstream.received == []
