"""A service believes the router's signature and nothing else."""

import time

import jwt
import pytest

from router.identity import Identity
from router.identity.tokens import IdentityRejected, issue, verify

SECRET = "s" * 40
CUSTOMER = Identity(subject="42", kind="session")
STAFF = Identity(subject="1", kind="token", staff=True, superuser=True)


@pytest.mark.parametrize("identity", [Identity(), CUSTOMER, STAFF, Identity(subject="orders", kind="service")])
def test_what_is_signed_arrives(identity: Identity) -> None:
    assert verify(issue(identity, audience="orders", secret=SECRET), audience="orders", secret=SECRET) == identity


def test_a_token_for_one_service_is_worthless_at_another() -> None:
    with pytest.raises(IdentityRejected, match="udience"):
        verify(issue(CUSTOMER, audience="orders", secret=SECRET), audience="payments", secret=SECRET)


def test_another_secret_is_refused() -> None:
    with pytest.raises(IdentityRejected, match="ignature"):
        verify(issue(CUSTOMER, audience="orders", secret="x" * 40), audience="orders", secret=SECRET)


def test_a_token_ends_soon() -> None:
    token = issue(CUSTOMER, audience="orders", secret=SECRET, ttl=-60)
    with pytest.raises(IdentityRejected, match="expired"):
        verify(token, audience="orders", secret=SECRET)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é", issue(CUSTOMER, audience="o", secret=SECRET)[:-2] + "zz"])
def test_rubbish_is_refused(token: str) -> None:
    with pytest.raises(IdentityRejected):
        verify(token, audience="o", secret=SECRET)


def test_an_unsigned_token_is_refused() -> None:
    now = int(time.time())
    claims = {"iss": "strangler", "aud": "orders", "iat": now, "exp": now + 60, "sub": "1", "knd": "session"}
    with pytest.raises(IdentityRejected):
        verify(jwt.encode(claims, None, algorithm="none"), audience="orders", secret=SECRET)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"knd": "king"}, "unknown kind"), ({"sub": None}, "no subject|ubject"), ({"exp": None}, "exp")],
)
def test_a_token_that_says_too_little_is_refused(change: dict[str, object], says: str) -> None:
    now = int(time.time())
    claims = {"iss": "strangler", "aud": "orders", "iat": now, "exp": now + 60, "sub": "1", "knd": "session"} | change
    token = jwt.encode({k: v for k, v in claims.items() if v is not None}, SECRET, algorithm="HS256")
    with pytest.raises(IdentityRejected, match=says):
        verify(token, audience="orders", secret=SECRET)
