"""The internal listener, where the orders service has its payment attempts run."""

import uuid
from datetime import timedelta

import pytest
from django.conf import settings as configured
from django.test import Client
from pytest_django import Settings

from demo.provider import Control, ProviderServer
from legacy_shop.payments.models import PaymentAttempt
from legacy_shop.payments.services import settle_open
from router.identity import Identity
from router.identity.tokens import issue
from tests.legacy_shop.samples import GOOD, make_order

pytestmark = pytest.mark.django_db
SERVICE = Identity(subject="orders", kind="service")


@pytest.fixture(autouse=True)
def internal(settings: Settings) -> None:
    """Answer as the internal listener does."""
    settings.ROOT_URLCONF = "legacy_shop.urls_internal"


def token(identity: Identity = SERVICE, audience: str = "monolith", secret: str | None = None, ttl: int = 30) -> str:
    key = secret or configured.STRANGLER["SERVICES"]["orders"]["SECRET"]
    return issue(identity, audience=audience, secret=key, ttl=ttl)


def run(key: uuid.UUID, identity: str) -> object:
    path = f"/internal/payments/attempts/{key}/run/"
    return Client(enforce_csrf_checks=True).post(path, headers={"X-Strangler-Identity": identity})


@pytest.fixture
def attempt() -> PaymentAttempt:
    return PaymentAttempt.objects.get(order=make_order(card=GOOD))


def test_an_attempt_is_run_for_the_service(attempt: PaymentAttempt, provider: ProviderServer) -> None:
    """The service marks its order itself; should it die before that, the settling task tells the order."""
    for _ in range(2):
        response = run(attempt.provider_key, token())
        attempt.refresh_from_db()
        said = {"kind": "charge", "state": "succeeded", "settled_at": attempt.settled_at.isoformat()}
        assert (response.status_code, response.json()) == (200, said)
    assert len(provider.ledger.rows("charge")) == 1
    assert attempt.order.status == attempt.order.Status.PENDING
    settle_open(older_than=timedelta(0))
    attempt.order.refresh_from_db()
    assert (attempt.order.status, attempt.order.paid_at) == (attempt.order.Status.PAID, attempt.settled_at)


def test_it_says_when_the_provider_gave_no_answer(attempt: PaymentAttempt, provider: ProviderServer) -> None:
    provider.control = Control(fail_rate=1.0)
    assert run(attempt.provider_key, token()).json() == {"kind": "charge", "state": "open", "settled_at": None}


def test_nobody_else_may_ask(attempt: PaymentAttempt, provider: ProviderServer) -> None:
    customer = Identity(subject="7", kind="session", staff=True, superuser=True)
    for identity, status in (
        ("", 401),
        ("nonsense", 401),
        (token(secret="another-secret-of-sufficient-length-for-hmac"), 401),
        (token(audience="orders"), 401),
        (token(ttl=-60), 401),
        (token(customer), 403),
    ):
        assert run(attempt.provider_key, identity).status_code == status
    attempt.refresh_from_db()
    assert attempt.state == "open"
    assert provider.ledger.rows("charge") == []


def test_an_unknown_attempt_is_not_found(provider: ProviderServer) -> None:
    key = uuid.uuid4()
    response = run(key, token())
    assert (response.status_code, response.json()) == (404, {"detail": f"There is no payment attempt {key}."})


def test_it_only_listens_to_what_is_internal() -> None:
    assert Client().get("/health/").json() == {"status": "ok"}
    assert Client().get("/api/orders/").status_code == 404
    assert Client().get(f"/internal/payments/attempts/{uuid.uuid4()}/run/").status_code == 405
