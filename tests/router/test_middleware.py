"""The middleware from end to end inside one process: who answers, what goes over the wire, what comes back."""

import copy
import json
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.conf import Settings
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.authtoken.models import Token

from legacy_shop.catalog.models import Category, Product, Stock
from legacy_shop.orders.models import Order
from router import breaker
from router.idempotency.claims import claim
from router.idempotency.models import IdempotencyKey, TravellingKey
from router.identity import HEADER, Identity
from router.identity.tokens import verify
from router.testing import override_envelope
from tests.processes import free_port
from tests.router.upstreams import Recorder, recording_upstream

SECRET = "m" * 40

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def well() -> Iterator[None]:
    """Begin and end with closed breakers."""
    breaker.reset()
    yield
    breaker.reset()


def point_to(settings: Settings, url: str, **more: Any) -> None:
    """Let the orders service be somewhere else."""
    strangler = copy.deepcopy(settings.STRANGLER)
    strangler["SERVICES"]["orders"] |= {"UPSTREAMS": {"shared": url}, "SECRET": SECRET}
    settings.STRANGLER = {**strangler, **more}


@pytest.fixture
def upstream(settings) -> Iterator[Recorder]:
    """Record what the service would receive, with everything diverted."""
    with recording_upstream() as recorder, override_envelope("orders", reads=100, writes=100, step="all"):
        point_to(settings, recorder.url, DEBUG_HEADERS=True)
        yield recorder


@pytest.fixture
def down(settings) -> Iterator[None]:
    """Divert everything to a service that is not there."""
    point_to(settings, f"http://127.0.0.1:{free_port()}", DEBUG_HEADERS=True)
    with override_envelope("orders", reads=100, writes=100, step="all"):
        yield


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ann", password="x")


@pytest.fixture
def client(user: User) -> Client:
    return Client(headers={"Authorization": f"Token {Token.objects.create(user=user).key}"})


@pytest.fixture
def order_body() -> dict[str, Any]:
    category = Category.objects.create(name="Records", slug="records")
    product = Product.objects.create(category=category, sku="R1", slug="r1", name="Record", price=Decimal("9.99"))
    Stock.objects.create(product=product, on_hand=10)
    address = {"name": "A", "street": "B 1", "city": "C", "postcode": "1", "country": "US"}
    return {"lines": [{"product": product.pk, "quantity": 1}], "address": address}


def post(client: Client, body: Any, **headers: str) -> Any:
    return client.post("/api/orders/", json.dumps(body), content_type="application/json", headers=headers)


class TestOverTheWire:
    def test_the_service_learns_who_asks_from_a_signed_token_alone(
        self, upstream: Recorder, client: Client, user: User
    ) -> None:
        client.get("/api/orders/", headers={HEADER: "forged", "X-Strangler-Side": "x", "X-Kept": "y"})
        (request,) = upstream.received
        (token,) = request.values(HEADER)
        assert verify(token, audience="orders", secret=SECRET) == Identity(subject=str(user.pk), kind="token")
        assert request.values("X-Strangler-Side") == []
        assert request.values("X-Kept") == ["y"]

    def test_a_write_without_a_key_gets_one(self, upstream: Recorder, client: Client) -> None:
        post(client, {"any": 1})
        post(client, {"any": 1})
        keys = [request.values("Idempotency-Key") for request in upstream.received]
        assert [len(uuid.UUID(key).hex) for (key,) in keys] == [32, 32]
        assert keys[0] != keys[1]

    def test_a_clients_own_key_goes_along_once(self, upstream: Recorder, client: Client) -> None:
        post(client, {"any": 1}, **{"Idempotency-Key": "mine"})
        assert upstream.received[0].values("Idempotency-Key") == ["mine"]

    def test_body_and_target_arrive_as_they_were(self, upstream: Recorder, client: Client) -> None:
        raw = b'{ "spaces" :  "kept\\u00e9" }'
        client.post("/api/orders/?a=1&a=2", raw, content_type="application/json")
        (request,) = upstream.received
        assert (request.method, request.target, request.body) == ("POST", "/api/orders/?a=1&a=2", raw)

    def test_the_answer_is_passed_on(self, upstream: Recorder, client: Client) -> None:
        upstream.answer = lambda request: (418, {"Content-Type": "text/tea", "X-Pot": "brown"}, b"short")
        answer = client.get("/api/orders/")
        assert (answer.status_code, answer["Content-Type"], answer["X-Pot"], answer.content) == (
            418,
            "text/tea",
            "brown",
            b"short",
        )

    def test_what_belongs_to_no_route_never_leaves(self, upstream: Recorder, client: Client) -> None:
        for method, path in (("GET", "/api/products/"), ("PUT", "/api/orders/"), ("GET", "/api/orders")):
            client.generic(method, path)
        assert upstream.received == []


class TestWhoAnswered:
    def test_debugging_shows_side_and_reason(self, upstream: Recorder, client: Client) -> None:
        answer = client.get("/api/orders/")
        assert (answer["X-Strangler-Side"], answer["X-Strangler-Reason"]) == ("extracted", "everyone")

    def test_customers_see_nothing_and_staff_does(self, upstream: Recorder, client: Client, user, settings) -> None:
        point_to(settings, upstream.url, DEBUG_HEADERS=False)
        assert "X-Strangler-Side" not in client.get("/api/orders/")
        User.objects.filter(pk=user.pk).update(is_staff=True)
        assert client.get("/api/orders/")["X-Strangler-Side"] == "extracted"


class TestCredentials:
    def test_a_wrong_token_is_refused_by_legacy_in_its_own_words(self, upstream: Recorder) -> None:
        answer = Client(headers={"Authorization": "Token wrong"}).get("/api/orders/")
        assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid token."})
        assert upstream.received == []

    def test_a_cookie_needs_its_csrf_token(self, upstream: Recorder, user: User) -> None:
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(user)
        answer = post(browser, {"any": 1})
        assert answer.status_code == 403
        assert upstream.received == []
        browser.get("/api/auth/csrf/")
        answer = post(browser, {"any": 1}, **{"X-CSRFToken": browser.cookies["csrftoken"].value})
        assert (answer.status_code, len(upstream.received)) == (200, 1)

    def test_a_token_client_needs_none(self, upstream: Recorder, user: User) -> None:
        client = Client(enforce_csrf_checks=True, headers={"Authorization": f"Token {Token.objects.create(user=user)}"})
        assert post(client, {"any": 1}).status_code == 200


class TestServiceDown:
    def test_reads_and_writes_are_answered_by_legacy(
        self, down: None, client: Client, order_body: dict[str, Any]
    ) -> None:
        placed = post(client, order_body)
        listed = client.get("/api/orders/")
        assert (placed.status_code, listed.json()["count"]) == (201, 1)
        assert placed["X-Strangler-Reason"].startswith("everyone; fallback:not-sent")

    def test_a_key_of_the_clients_own_is_taken_over(
        self, down: None, client: Client, order_body: dict[str, Any]
    ) -> None:
        first = post(client, order_body, **{"Idempotency-Key": "mine"})
        second = post(client, order_body, **{"Idempotency-Key": "mine"})
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.content == second.content
        assert second["Idempotency-Replayed"] == "true"
        assert Order.objects.count() == 1

    def test_a_retry_of_its_own_that_is_under_way_is_waited_for(
        self, down: None, client: Client, user: User, order_body: dict[str, Any]
    ) -> None:
        post(client, order_body, **{"Idempotency-Key": "mine"})
        Order.objects.all().delete()
        row = IdempotencyKey.objects.get()
        IdempotencyKey.objects.all().delete()
        TravellingKey.objects.all().delete()
        claim(scope="orders", subject=str(user.pk), key="mine", fingerprint=row.fingerprint)
        answer = post(client, order_body, **{"Idempotency-Key": "mine"})
        assert (answer.status_code, answer["Retry-After"]) == (409, "1")
        assert not Order.objects.exists()

    def test_after_some_failures_the_service_is_left_alone(self, down: None, client: Client) -> None:
        reasons = [client.get("/api/orders/")["X-Strangler-Reason"].rpartition(":")[2] for _ in range(8)]
        assert reasons[0].startswith("not-sent")
        assert reasons[-1] == "breaker-open"

    def test_a_process_that_does_not_know_the_service_leaves_all_to_legacy(
        self, upstream: Recorder, client: Client, settings, order_body: dict[str, Any]
    ) -> None:
        """One worker started with old settings must not cost its customers anything."""
        for services in ({}, {"orders": {"UPSTREAMS": {}, "SECRET": SECRET}}):
            settings.STRANGLER = {**settings.STRANGLER, "SERVICES": services}
            placed, listed = post(client, order_body), client.get("/api/orders/")
            assert (placed.status_code, listed.status_code) == (201, 200)
            assert placed["X-Strangler-Reason"].endswith("fallback:misconfigured")
        assert upstream.received == []

    def test_a_body_too_long_to_keep_is_not_sent_twice(
        self, upstream: Recorder, client: Client, settings, order_body: dict[str, Any]
    ) -> None:
        point_to(settings, upstream.url, MAX_BODY_BYTES=100)
        upstream.answer = lambda request: (500, {}, b"")
        answer = post(client, {**order_body, "note": "x" * 200})
        assert (answer.status_code, answer["Retry-After"]) == (503, "1")
        assert not Order.objects.exists()
