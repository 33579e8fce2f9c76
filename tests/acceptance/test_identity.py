"""Nobody becomes somebody else, and no cookie alone writes, whichever side answers."""

from collections.abc import Callable

import pytest
import requests

from legacy_shop.orders.models import Order
from router.identity import HEADER, Identity
from router.identity.tokens import issue
from tests.acceptance.conftest import Customer, House

pytestmark = [pytest.mark.acceptance, pytest.mark.any_database]

ENVELOPES = {"legacy": {}, "extracted": {"reads": 100, "writes": 100}}


@pytest.fixture(params=ENVELOPES)
def side(request: pytest.FixtureRequest, stand_at: Callable[..., None]) -> str:
    """Let either side answer."""
    stand_at("a step", **ENVELOPES[request.param])
    return str(request.param)


def logged_in(house: House, customer: Customer) -> requests.Session:
    """Return a browser with the customer's session and CSRF cookies."""
    session = requests.Session()
    session.trust_env = False
    session.headers["Connection"] = "close"
    session.get(f"{house.url}/api/auth/csrf/", timeout=30)
    answer = session.post(
        f"{house.url}/api/auth/login/",
        json={"username": customer.user.username, "password": "demo-password"},
        headers={"X-CSRFToken": session.cookies["csrftoken"]},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return session


def order_body(customer: Customer) -> dict[str, object]:
    address = {"name": "A", "street": "B 1", "city": "C", "postcode": "1", "country": "US"}
    return {"lines": [{"product": customer.product.pk, "quantity": 1}], "address": address, "note": "csrf"}


def test_a_cookie_post_needs_its_csrf_token(side: str, house: House, customer: Customer) -> None:
    browser = logged_in(house, customer)
    url = f"{house.url}/api/orders/"
    without = browser.post(url, json=order_body(customer), timeout=30)
    wrong = browser.post(url, json=order_body(customer), headers={"X-CSRFToken": "x" * 64}, timeout=30)
    assert (without.status_code, wrong.status_code) == (403, 403)
    assert without.json()["detail"].startswith("CSRF Failed")
    assert not Order.objects.exists()
    right = browser.post(
        url, json=order_body(customer), headers={"X-CSRFToken": browser.cookies["csrftoken"]}, timeout=30
    )
    assert (right.status_code, right.headers["X-Strangler-Side"]) == (201, side)


def test_no_header_makes_a_client_somebody_else(
    side: str, house: House, make_customer: Callable[..., Customer]
) -> None:
    owner, thief = make_customer(), make_customer()
    order = owner.order("mine").json()["id"]
    forged = issue(Identity(subject=str(owner.user.pk), kind="session"), audience="orders", secret="f" * 40)
    for name in (HEADER, "X_Strangler_Identity", "x-strangler-identity", "X-User-Id", "X-Forwarded-User"):
        answer = thief.call("GET", f"/api/orders/{order}/", **{name: forged})
        assert (answer.status_code, answer.headers["X-Strangler-Side"]) == (404, side)


def test_strangers_are_turned_away_by_both_sides(side: str, house: House) -> None:
    for authorization in ("", "Token wrong", "Token", "Bearer x", "Basic eDp5"):
        headers = {"Authorization": authorization} if authorization else {}
        answer = requests.get(f"{house.url}/api/orders/", headers=headers, timeout=30)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Token"), authorization


def test_the_service_itself_lets_nobody_in_without_the_routers_word(house: House, customer: Customer) -> None:
    answer = requests.get(
        f"http://127.0.0.1:{house.orders_port}/api/orders/",
        headers={"Authorization": f"Token {customer.token}"},
        timeout=30,
    )
    assert answer.status_code == 401
