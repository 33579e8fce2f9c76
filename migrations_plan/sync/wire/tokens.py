"""Sign one call of one verb, and accept nothing that was not signed for it.

A token is a JWT (RFC 7519) under HMAC-SHA256 that names its audience, its aggregate and its verb, so that one which
leaks is worthless at another service and for anything else, and after half a minute for that as well.
"""

import time
from typing import Any

import jwt

from migrations_plan.sync.errors import SyncError

ALGORITHM = "HS256"
ISSUER = "strangler-sync"
LIFE_SECONDS = 30
LONGEST_LIFE_SECONDS = 60
"""A token that was made to live longer is refused, however it is signed."""
LEEWAY_SECONDS = 5
"""By which two machines' clocks may differ."""
SCHEME = "Bearer "


class TokenRejected(SyncError):
    """The token is missing, forged, expired or meant for something else."""


def issue(aggregate: str, verb: str, *, audience: str, secret: str) -> str:
    """Return a token with which ``audience`` serves this verb of this aggregate, from now on for half a minute."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": audience,
        "iat": now,
        "exp": now + LIFE_SECONDS,
        "agg": aggregate,
        "vrb": verb,
    }
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def verify(header: str | None, aggregate: str, verb: str, *, audience: str, secret: str) -> None:
    """Accept the ``Authorization`` header of a call, or raise TokenRejected with the reason."""
    if not header:
        raise TokenRejected("There is no token. Send one: Authorization: Bearer <JWT>.")
    if not header.startswith(SCHEME):
        raise TokenRejected("The Authorization header holds no bearer token.")
    claims = _claims(header.removeprefix(SCHEME), audience, secret)
    if claims["exp"] - claims["iat"] > LONGEST_LIFE_SECONDS:
        raise TokenRejected(f"The token lives longer than {LONGEST_LIFE_SECONDS} s. Sign each call anew.")
    if (claims["agg"], claims["vrb"]) != (aggregate, verb):
        raise TokenRejected(
            f"The token is for the verb {claims['vrb']!r} of {claims['agg']!r}, and this is {verb!r} of {aggregate!r}."
        )


def _claims(token: str, audience: str, secret: str) -> dict[str, Any]:
    try:
        return jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            audience=audience,
            issuer=ISSUER,
            leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "aud", "iat", "exp", "agg", "vrb"], "strict_aud": True},
        )
    except jwt.InvalidTokenError as error:
        raise TokenRejected(f"The token was rejected: {error}.") from error
