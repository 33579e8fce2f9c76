"""Sign an identity for one service, and accept nothing that was not signed for it.

A token is a JWT (RFC 7519) under HMAC-SHA256. It names its audience, so that a token for one service is worthless at
another, and it lives for seconds, so that a leaked log line is worthless too.
"""

import time
from functools import lru_cache
from typing import Any, cast, get_args

import jwt

from router.exceptions import StranglerError
from router.identity import Identity, Kind

ALGORITHM = "HS256"
ISSUER = "strangler"
LEEWAY = 5
"""Seconds by which two machines' clocks may differ."""
SHARED_SECONDS = 5
"""For so long the same client's requests share a token; signing each costs more than sending it."""


class IdentityRejected(StranglerError):
    """The identity token is missing, forged, expired or meant for somebody else."""


def issue(identity: Identity, *, audience: str, secret: str, ttl: int = 30) -> str:
    """Return a signed token that tells ``audience`` who the client is, valid for ``ttl`` seconds from about now."""
    now = int(time.time())
    return _signed(identity, audience, secret, now - now % SHARED_SECONDS, ttl)


@lru_cache(maxsize=4096)
def _signed(identity: Identity, audience: str, secret: str, issued: int, ttl: int) -> str:
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": audience,
        "iat": issued,
        "exp": issued + SHARED_SECONDS + ttl,
        "knd": identity.kind,
    }
    if identity.subject is not None:
        claims["sub"] = identity.subject
    if identity.staff:
        claims["stf"] = True
    if identity.superuser:
        claims["sup"] = True
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def verify(token: str, *, audience: str, secret: str) -> Identity:
    """Return the identity in ``token``; raise IdentityRejected with the reason if it is not for ``audience``."""
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            audience=audience,
            issuer=ISSUER,
            leeway=LEEWAY,
            options={"require": ["aud", "exp", "iat", "iss"]},
        )
    except jwt.InvalidTokenError as error:
        raise IdentityRejected(f"The identity token was rejected: {error}.") from error
    kind = claims.get("knd")
    if kind not in get_args(Kind):
        raise IdentityRejected(f"The identity token names an unknown kind of client: {kind!r}.")
    identity = Identity(
        subject=claims.get("sub"),
        kind=cast(Kind, kind),
        staff=claims.get("stf") is True,
        superuser=claims.get("sup") is True,
    )
    if identity.authenticated and identity.subject is None:
        raise IdentityRejected("The identity token vouches for nobody: it has no subject.")
    return identity
