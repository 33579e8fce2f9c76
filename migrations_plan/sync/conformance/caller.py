"""Requests as the protocol has them, and such as it forbids."""

import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import jwt
import msgspec
import requests

from migrations_plan.sync.conformance.outcomes import Failed

TIMEOUT_SECONDS = 60.0
GZIP_WINDOW = 31


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: Any
    """The JSON; None where there was none."""


class Caller:
    """Calls the verbs of one aggregate below one address."""

    def __init__(self, url: str, *, secret: str, audience: str, aggregate: str) -> None:
        self.url = url if url.endswith("/") else f"{url}/"
        self.secret, self.audience, self.aggregate = secret, audience, aggregate
        self._session = requests.Session()
        self._session.trust_env = False

    def claims(self, verb: str, **changed: Any) -> dict[str, Any]:
        """Return the claims of a token for a verb, some of them changed; None leaves one out."""
        now = int(time.time())
        claims = {
            "iss": "strangler-sync",
            "aud": self.audience,
            "iat": now,
            "exp": now + 30,
            "agg": self.aggregate,
            "vrb": verb,
            **changed,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, verb: str, *, secret: str | None = None, **changed: Any) -> str:
        """Return a signed token."""
        return jwt.encode(self.claims(verb, **changed), self.secret if secret is None else secret, algorithm="HS256")

    def call(self, verb: str, body: Any = None, *, aggregate: str | None = None) -> Reply:
        """Call a verb as it should be called."""
        token = self.token(verb, agg=aggregate or self.aggregate)
        return self.send(verb, msgspec.json.encode(body or {}), token=token, aggregate=aggregate)

    def send(
        self,
        verb: str,
        raw: bytes,
        *,
        token: str | None,
        aggregate: str | None = None,
        method: str = "POST",
        encoding: str = "",
        accept: str = "identity",
    ) -> Reply:
        """Send any bytes under any token."""
        headers = {"Content-Type": "application/json", "Accept-Encoding": accept}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if encoding:
            headers["Content-Encoding"] = encoding
        url = f"{self.url}{quote(aggregate or self.aggregate, safe='')}/{verb}"
        try:
            answer = self._session.request(
                method, url, data=raw, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False
            )
        except requests.RequestException as error:
            raise Failed(f"{verb} got no answer: {type(error).__name__}: {error}") from error
        return Reply(status=answer.status_code, headers=answer.headers, body=_json(answer.content))


def gzipped(raw: bytes) -> bytes:
    """Return bytes as gzip."""
    packer = zlib.compressobj(9, wbits=GZIP_WINDOW)
    return packer.compress(raw) + packer.flush()


def _json(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeError):
        return None
