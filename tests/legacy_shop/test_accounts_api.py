"""Logging in and out, tokens, and the address book."""

import pytest
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient

from legacy_shop.accounts.models import Address, Profile
from tests.legacy_shop.samples import ADDRESS, client_of, make_customer

pytestmark = pytest.mark.django_db


@pytest.fixture
def customer() -> User:
    return make_customer()


def login(browser: APIClient, customer: User, password: str = "secret-word", path: str = "login") -> object:
    body = {"username": customer.username, "password": password}
    return browser.post(f"/api/auth/{path}/", body, format="json")


def test_a_session_begins_and_ends(customer: User) -> None:
    browser = APIClient(enforce_csrf_checks=True)

    response = login(browser, customer)

    assert (response.status_code, response.json()) == (200, {"id": customer.pk, "username": customer.username})
    assert {"sessionid", "csrftoken"} <= set(response.cookies)
    assert browser.get("/api/cart/").status_code == 200
    assert browser.post("/api/auth/logout/").status_code == 403
    token = browser.cookies["csrftoken"].value
    assert browser.post("/api/auth/logout/", HTTP_X_CSRFTOKEN=token).status_code == 204
    assert browser.get("/api/cart/").status_code == 401


@pytest.mark.parametrize("path", ["login", "token"])
def test_a_wrong_password_opens_nothing(customer: User, path: str) -> None:
    response = login(APIClient(), customer, "wrong", path)
    assert (response.status_code, list(response.json())) == (400, ["non_field_errors"])
    assert not response.cookies
    assert not Token.objects.exists()


def test_credentials_are_read_from_json_only(customer: User) -> None:
    body = {"username": customer.username, "password": "secret-word"}
    assert APIClient().post("/api/auth/login/", body, format="multipart").status_code == 415


def test_a_token_is_kept_and_opens_the_shop(customer: User) -> None:
    first, again = (login(APIClient(), customer, path="token").json() for _ in range(2))
    assert list(first) == ["token"]
    assert again == first
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {first['token']}")
    assert client.get("/api/addresses/").json() == []


def test_a_wrong_token_is_refused() -> None:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION="Token nonsense")
    response = client.get("/api/addresses/")
    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Token")


def test_the_csrf_cookie_is_to_be_had() -> None:
    response = APIClient().get("/api/auth/csrf/")
    assert response.status_code == 204
    assert response.cookies["csrftoken"].value


def test_the_address_book_is_ones_own(customer: User) -> None:
    client = client_of(customer)
    Address.objects.create(user=make_customer(), **ADDRESS)

    first = client.post("/api/addresses/", {**ADDRESS, "is_default": True}, format="json")
    second = client.post("/api/addresses/", {**ADDRESS, "city": "Leeds", "is_default": True}, format="json")

    assert (first.status_code, first.json()["is_default"]) == (201, True)
    assert list(second.json()) == ["id", *ADDRESS, "is_default"]
    assert [(entry["city"], entry["is_default"]) for entry in client.get("/api/addresses/").json()] == [
        ("London", False),
        ("Leeds", True),
    ]


@pytest.mark.parametrize("change", [{"country": "GBR"}, {"name": ""}, {"street": "s" * 201}])
def test_a_wrong_address_is_not_kept(customer: User, change: dict[str, str]) -> None:
    response = client_of(customer).post("/api/addresses/", {**ADDRESS, **change}, format="json")
    assert (response.status_code, list(response.json())) == (400, list(change))
    assert not Address.objects.exists()


def test_every_new_user_gets_one_profile(customer: User) -> None:
    customer.first_name = "Ada"
    customer.save()
    assert Profile.objects.get(user=customer).loyalty_points == 0
