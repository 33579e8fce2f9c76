"""Writes at the edges: bodies read once, keys that nobody knows, answers that are not the last word."""

import json
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone
from rest_framework.authtoken.models import Token

from router import breaker
from router.diversion import divert
from router.exchange import Exchange
from router.idempotency.claims import Claim, Stored, claim, fingerprint_of
from router.idempotency.guard import run_once
from router.idempotency.models import IdempotencyKey
from router.registry import Match
from router.routes import Route
from router.service.headers import REFUSED_HEADER
from router.snapshot import Envelope, Snapshot
from router.testing import override_envelope
from tests.processes import free_port
from tests.router.test_middleware import point_to
from tests.router.upstreams import Received, Recorder, recording_upstream

pytestmark = pytest.mark.django_db

ROUTE = Route(service="orders", name="upload", methods=("POST",), pattern="/upload/")
SNAPSHOT = Snapshot(version=1, envelopes={"orders": Envelope(step="all", reads=100, writes=100)})
FORM = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\n%b\r\n--b--\r\n'


@pytest.fixture(autouse=True)
def well() -> Iterator[None]:
    """Begin and end with closed breakers."""
    breaker.reset()
    yield
    breaker.reset()


@pytest.fixture
def upstream(settings) -> Iterator[Recorder]:
    with recording_upstream() as recorder:
        point_to(settings, recorder.url)
        yield recorder


def upload(body: bytes, content_type: str = FORM, **headers: str) -> HttpRequest:
    return RequestFactory().post("/upload/", body, content_type=content_type, headers=headers)


def diverted(request: HttpRequest, legacy: Any) -> HttpResponseBase:
    exchange = Exchange(request=request, match=Match(ROUTE, {}), snapshot=SNAPSHOT)
    return divert(exchange, legacy).response


def accept(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"legacy read {request.POST.get('note')}", status=201)


def never(request: HttpRequest) -> HttpResponse:
    raise AssertionError("legacy must not be asked")


def fail(request: Received) -> tuple[int, dict[str, str], bytes]:
    return 500, {}, b""


class TestLongBodies:
    """What is too long to be kept is handed on as it arrives, and can be read once."""

    def test_legacy_is_not_asked_with_a_body_that_was_read(self, settings) -> None:
        point_to(settings, f"http://127.0.0.1:{free_port()}", MAX_BODY_BYTES=10)
        answer = diverted(upload(PART % b"hello"), accept)
        assert (answer.status_code, answer["Retry-After"]) == (503, "1")

    def test_while_the_breaker_is_open_legacy_reads_it(self, settings) -> None:
        point_to(settings, f"http://127.0.0.1:{free_port()}", MAX_BODY_BYTES=10)
        for _ in range(20):
            answer = diverted(upload(PART % b"hello"), accept)
        assert isinstance(answer, HttpResponse)
        assert answer.content == b"legacy read hello"

    def test_told_to_send_again_a_client_without_a_key_gets_nothing_twice(self, upstream: Recorder, settings) -> None:
        """The service is still at it when the client is told 503; it must not commit after that."""
        point_to(settings, upstream.url, MAX_BODY_BYTES=10)
        upstream.answer = fail
        assert diverted(upload(PART % b"hello"), never).status_code == 503
        (key,) = upstream.received[0].values("Idempotency-Key")
        late = upload(upstream.received[0].body, **{"Idempotency-Key": key})
        with pytest.raises(Exception, match="was used for another request"):
            run_once(late, scope="orders", subject="", work=lambda: (201, {}))

    def test_the_answer_that_the_service_committed_is_found(self, upstream: Recorder, settings) -> None:
        point_to(settings, upstream.url, MAX_BODY_BYTES=10)

        def commit_then_fail(received: Received) -> tuple[int, dict[str, str], bytes]:
            keys.extend(received.values("Idempotency-Key"))
            return 500, {}, b""

        keys: list[str] = []
        upstream.answer = commit_then_fail
        found: list[Any] = []

        def remember(**identity: str) -> Any:
            found.append(identity)
            return Stored(status=201, content_type="text/plain", body=b"by the service")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("router.diversion.seize", remember)
            answer = diverted(upload(PART % b"hello"), never)
        assert (answer.status_code, found[0]["key"]) == (201, keys[0])


class TestBrowsers:
    def test_a_form_with_files_is_forwarded_whole(self, upstream: Recorder, settings) -> None:
        """Looking for the CSRF token among the fields must not consume the body."""
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(User.objects.create_user("ann", password="x"))
        browser.get("/api/auth/csrf/")
        token = browser.cookies["csrftoken"].value.encode()
        body = b'--b\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n%b\r\n--b--\r\n' % token
        with overridden():
            answer = browser.post("/api/orders/", body, content_type=FORM)
        assert answer.status_code == 200
        assert upstream.received[0].body == body

    def test_a_long_form_without_its_token_in_the_header_is_read_by_legacy(self, upstream: Recorder, settings) -> None:
        point_to(settings, upstream.url, MAX_BODY_BYTES=10)
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(User.objects.create_user("ann", password="x"))
        browser.get("/api/auth/csrf/")
        headers = {"X-CSRFToken": browser.cookies["csrftoken"].value}
        with overridden():
            answer = browser.post("/api/orders/", PART % b"hello", content_type=FORM, headers=headers)
            legacys = browser.post("/api/orders/", PART % b"hello", content_type=FORM)
        assert (answer.status_code, legacys.status_code) == (200, 415)
        assert [request.body for request in upstream.received] == [PART % b"hello"]

    def test_somebody_deactivated_is_nobody_to_the_service(self, upstream: Recorder, settings) -> None:
        settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.AllowAllUsersModelBackend"]
        browser = Client()
        browser.force_login(User.objects.create_user("ann", password="x", is_active=False))
        with overridden():
            answer = browser.get("/api/orders/")
        assert answer.status_code in {401, 403}
        assert upstream.received == []


class TestLastWords:
    def test_a_claim_lost_to_the_late_service_gives_the_services_answer(self, upstream: Recorder, settings) -> None:
        """Legacy outlived its lease, the service took the key back and committed: that is what the client is told."""
        upstream.answer = fail
        request = upload(b"{}", "application/json")

        def slow(request: HttpRequest) -> HttpResponse:
            IdempotencyKey.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
            row = IdempotencyKey.objects.get()
            late = claim(scope="orders", subject="", key=row.key, fingerprint=row.fingerprint)
            assert isinstance(late, Claim)
            late.complete(status=201, content_type="application/json", body=b'{"by":"service"}')
            return HttpResponse(b'{"code":"idempotency_claim_lost"}', status=409)

        answer = diverted(request, slow)
        assert isinstance(answer, HttpResponse)
        assert (answer.status_code, answer.content) == (201, b'{"by":"service"}')

    def test_an_answer_that_streams_is_settled_all_the_same(self, upstream: Recorder) -> None:
        upstream.answer = fail
        answer = diverted(upload(b"{}", "application/json"), lambda _: StreamingHttpResponse([b"a", b"b"], status=201))
        assert isinstance(answer, StreamingHttpResponse)
        assert b"".join(answer) == b"ab"
        assert IdempotencyKey.objects.get().state == "done"

    def test_an_answer_of_another_type_is_repeated_as_it_was(self, upstream: Recorder, settings) -> None:
        """Legacy refused in HTML; the same key at a view of the JSON API must get that, not a server error."""
        token = Token.objects.create(user=User.objects.create_user("ann", password="x"))
        client = Client(headers={"Authorization": f"Token {token.key}"})
        body = {"lines": [{"product": 1, "quantity": 1}], "address": dict.fromkeys(ADDRESS, "US")}
        sent = {"content_type": "application/json", "headers": {"Idempotency-Key": "k"}}
        request = RequestFactory().post("/api/orders/", json.dumps(body), **sent)
        held = claim(scope="orders", subject=str(token.user.pk), key="k", fingerprint=fingerprint_of(request))
        assert isinstance(held, Claim)
        held.finish(status=422, content_type="text/html", body=b"<p>no</p>")
        answer = client.post("/api/orders/", json.dumps(body), **sent)
        assert (answer.status_code, answer["Content-Type"], answer.content) == (422, "text/html", b"<p>no</p>")
        assert answer["Idempotency-Replayed"] == "true"

    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
    def test_a_server_error_or_come_back_later_is_not_the_last_word_to_somebody_who_can(
        self, upstream: Recorder, status: int
    ) -> None:
        upstream.answer = fail
        sent = {"Idempotency-Key": str(uuid.uuid4())}
        first = diverted(upload(b"{}", "application/json", **sent), lambda _: HttpResponse(status=status))
        again = diverted(upload(b"{}", "application/json", **sent), lambda _: HttpResponse(status=201))
        assert (first.status_code, again.status_code) == (status, 201)

    @pytest.mark.parametrize("status", [429, 500])
    def test_it_is_the_last_word_on_a_key_that_nobody_knows(self, upstream: Recorder, status: int) -> None:
        upstream.answer = fail
        diverted(upload(b"{}", "application/json"), lambda _: HttpResponse(status=status))
        assert IdempotencyKey.objects.get().state == "done"


def test_a_router_that_the_service_does_not_believe_costs_the_customer_nothing(upstream: Recorder) -> None:
    """Another secret, or clocks apart: the refusal is about us, not about the client."""
    upstream.answer = lambda _: (401, {REFUSED_HEADER: "identity"}, b"{}")
    assert diverted(upload(PART % b"hello"), accept).status_code == 201


ADDRESS = ("name", "street", "city", "postcode", "country")


def overridden() -> Any:
    return override_envelope("orders", reads=100, writes=100, step="all")
