"""Tokens: for one verb of one aggregate at one service, and for half a minute."""

import time
from typing import Any

import jwt
import pytest

from migrations_plan.sync.wire import tokens
from migrations_plan.sync.wire.tokens import TokenRejected, issue, verify
from tests.migrations_plan.sync.wire.serving import SECRET

GOOD = {"iss": "strangler-sync", "aud": "orders", "agg": "orders", "vrb": "apply"}


def header(*, secret: str = SECRET, left_out: str = "", age: int = 0, life: int = 30, **changed: Any) -> str:
    """Return an Authorization header with a token that is good but for what is said."""
    issued = int(time.time()) - age
    claims = {**GOOD, "iat": issued, "exp": issued + life, **changed}
    claims.pop(left_out, None)
    return "Bearer " + jwt.encode(claims, secret, algorithm="HS256")


def accept(given: str | None) -> None:
    """Verify a header for applying orders."""
    verify(given, "orders", "apply", audience="orders", secret=SECRET)


def test_what_is_issued_is_accepted() -> None:
    accept("Bearer " + issue("orders", "apply", audience="orders", secret=SECRET))


def test_a_token_lives_for_half_a_minute() -> None:
    claims = jwt.decode(issue("orders", "apply", audience="orders", secret=SECRET), options={"verify_signature": False})
    assert claims == {**GOOD, "iat": claims["iat"], "exp": claims["iat"] + 30}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "no token"),
        ("", "no token"),
        ("Basic dXNlcg==", "no bearer token"),
        ("Bearer ", "rejected"),
        ("Bearer a.b.c", "rejected"),
        ("Bearer " + jwt.encode({**GOOD, "iat": 1, "exp": 9**12}, None, algorithm="none"), "rejected"),
    ],
)
def test_what_is_no_token_is_rejected(given: str | None, reason: str) -> None:
    with pytest.raises(TokenRejected, match=reason):
        accept(given)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"secret": "another" * 8}, "Signature"),
        ({"aud": "payments"}, "Audience"),
        ({"aud": ["payments", "orders"]}, "strict"),
        ({"iss": "strangler"}, "issuer"),
        ({"vrb": "changes"}, "verb 'changes' of 'orders'.*'apply' of 'orders'"),
        ({"agg": "payments"}, "verb 'apply' of 'payments'"),
        ({"age": 60}, "expired"),
        ({"age": -60}, "not yet valid"),
        ({"life": 61}, "longer than 60 s"),
        *(({"left_out": name}, f'"{name}"') for name in ("iss", "aud", "iat", "exp", "agg", "vrb")),
    ],
)
def test_a_token_for_anything_else_is_rejected_with_the_reason(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(TokenRejected, match=reason):
        accept(header(**wrong))


def test_clocks_may_differ_a_little() -> None:
    accept(header(age=30 + tokens.LEEWAY_SECONDS - 2))
    accept(header(age=2 - tokens.LEEWAY_SECONDS))


def test_a_token_signed_in_another_way_is_rejected() -> None:
    now = int(time.time())
    other = jwt.encode({**GOOD, "iat": now, "exp": now + 30}, SECRET * 2, algorithm="HS512")
    with pytest.raises(TokenRejected, match="alg"):
        accept(f"Bearer {other}")
