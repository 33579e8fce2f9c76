"""What a service accepts: a signed identity for itself, and shadows that can only read."""

import json

import pytest
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from legacy_shop.catalog.models import Category
from router.identity import HEADER, Identity
from router.identity.tokens import issue
from router.service.headers import REFUSED_HEADER
from router.service.middleware import ReadOnlyShadowMiddleware, ServiceIdentityMiddleware

SECRET = "t" * 40


@pytest.fixture(autouse=True)
def service(settings) -> None:
    settings.STRANGLER_SERVICE = {"NAME": "orders", "SECRET": SECRET}


def who(request: HttpRequest) -> HttpResponse:
    user = request.user
    return HttpResponse(json.dumps([user.pk, user.is_authenticated, user.is_staff]))


def ask(**headers: str) -> HttpResponse:
    return ServiceIdentityMiddleware(who)(RequestFactory().get("/api/orders/", headers=headers))


def test_the_signed_identity_becomes_the_user() -> None:
    token = issue(Identity(subject="42", kind="session", staff=True), audience="orders", secret=SECRET)
    assert json.loads(ask(**{HEADER: token}).content) == ["42", True, True]


def test_without_a_token_nobody_is_there() -> None:
    assert json.loads(ask().content) == [None, False, False]


@pytest.mark.parametrize("header", ["Cookie", "Authorization", "X-User-Id", "X-Forwarded-User"])
def test_no_other_header_makes_anybody_somebody(header: str) -> None:
    assert json.loads(ask(**{header: "42"}).content) == [None, False, False]


@pytest.mark.parametrize(
    "token",
    [
        issue(Identity(subject="42", kind="session"), audience="payments", secret=SECRET),
        issue(Identity(subject="42", kind="session"), audience="orders", secret="u" * 40),
        issue(Identity(subject="42", kind="session"), audience="orders", secret=SECRET, ttl=-60),
        "forged",
    ],
    ids=["other audience", "other secret", "expired", "rubbish"],
)
def test_a_token_that_is_not_for_us_is_refused(token: str) -> None:
    response = ask(**{HEADER: token})
    assert (response.status_code, response[REFUSED_HEADER]) == (401, "identity")
    assert "rejected" in json.loads(response.content)["detail"]


def write(_: HttpRequest) -> HttpResponse:
    try:
        with transaction.atomic():
            Category.objects.create(name="x", slug="x")
    except DatabaseError as error:
        return HttpResponse(f"refused: {error}", status=418)
    return HttpResponse("written")


def read(_: HttpRequest) -> HttpResponse:
    with transaction.atomic():  # as ATOMIC_REQUESTS has it around every view
        return HttpResponse(f"{Category.objects.count()} found")


@pytest.mark.django_db(databases="__all__", transaction=True)
class TestShadow:
    def test_a_view_that_reads_in_a_transaction_is_answered(self) -> None:
        """Also on SQLite where each transaction takes the write lock when it begins."""
        request = RequestFactory().get("/", headers={"X-Strangler-Shadow": "1"})
        assert ReadOnlyShadowMiddleware(read)(request).content == b"0 found"
        if connection.vendor == "sqlite":
            assert connection.transaction_mode == "IMMEDIATE"

    def test_a_shadowed_get_cannot_write(self) -> None:
        request = RequestFactory().get("/", headers={"X-Strangler-Shadow": "1"})
        assert ReadOnlyShadowMiddleware(write)(request).status_code == 418
        assert not Category.objects.exists()

    def test_the_connection_can_write_again_afterwards(self) -> None:
        request = RequestFactory().get("/", headers={"X-Strangler-Shadow": "1"})
        ReadOnlyShadowMiddleware(write)(request)
        assert ReadOnlyShadowMiddleware(write)(RequestFactory().get("/")).content == b"written"

    def test_a_shadowed_write_is_refused(self) -> None:
        request = RequestFactory().post("/", headers={"X-Strangler-Shadow": "1"})
        assert ReadOnlyShadowMiddleware(write)(request).status_code == 405
        assert not Category.objects.exists()
