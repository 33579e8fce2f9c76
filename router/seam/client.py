"""What a remote function speaks to the service with; it knows what was sent and whether that can have had an effect."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from router.diversion import NO_ANSWER
from router.idempotency.claims import fingerprint
from router.idempotency.errors import ClaimLost, IdempotencyError, KeyInFlight, KeyMalformed, KeyReused
from router.idempotency.guard import encode
from router.seam.errors import SeamMisused

SAFE_METHODS = frozenset({"GET", "HEAD"})
PATH_CHARACTERS = "/:@!$&'()*+,;=~-._"
"""What may stand in a path as it is (RFC 3986); everything else is percent-encoded."""
ABOUT_THE_KEY = {error.code: error for error in (ClaimLost, KeyInFlight, KeyMalformed, KeyReused)}
"""Refusals that are about the idempotency key and not about the operation, by their code."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One request that a remote function makes."""

    method: str
    path: str
    """Decoded, from the service's root: ``/api/orders/7/``."""
    query: str = ""
    body: bytes = b""

    @property
    def target(self) -> str:
        """Return path and query as they go over the wire."""
        path = quote(self.path, safe=PATH_CHARACTERS)
        return f"{path}?{self.query}" if self.query else path

    @property
    def safe(self) -> bool:
        """Whether the request changes nothing."""
        return self.method in SAFE_METHODS

    @property
    def fingerprint(self) -> str:
        """Return what the service makes of the request when it claims its key."""
        return fingerprint(self.method, self.path, self.query, self.body)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the service said; server errors never come this far."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """By name in lower case."""

    @property
    def ok(self) -> bool:
        """Whether the service did what it was asked."""
        return self.status < 400

    def header(self, name: str) -> str | None:
        """Return a header's value."""
        return self.headers.get(name.lower())

    def json(self) -> Any:
        """Return the body as the JSON it is; raise ValueError if it is none."""
        return json.loads(self.body)


Transport = Callable[[Sent], Answer]


class Client:
    """The service, for one call of one operation.

    An operation that reads makes as many safe requests as it likes. One that writes makes a single request: the
    idempotency key belongs to that, and nothing else could be taken back. Answers below 500 are returned; what is no
    answer ends the call, whatever the remote function does with the exception.
    """

    def __init__(self, label: str, transport: Transport, *, writes: bool) -> None:
        self._label = label
        self._transport = transport
        self._writes = writes
        self.sent: Sent | None = None
        """The last request."""
        self.answered: Answer | None = None
        self.failure: Exception | None = None
        """Why there was no answer, if there was none."""

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Answer:
        """Ask for something."""
        return self.request("GET", path, params=params)

    def post(self, path: str, data: Any = None) -> Answer:
        """Have something done; ``data`` is sent as JSON."""
        return self.request("POST", path, data=data)

    def put(self, path: str, data: Any = None) -> Answer:
        """Replace something; ``data`` is sent as JSON."""
        return self.request("PUT", path, data=data)

    def patch(self, path: str, data: Any = None) -> Answer:
        """Change something; ``data`` is sent as JSON."""
        return self.request("PATCH", path, data=data)

    def delete(self, path: str) -> Answer:
        """Remove something."""
        return self.request("DELETE", path)

    def request(self, method: str, path: str, *, params: Mapping[str, Any] | None = None, data: Any = None) -> Answer:
        """Make a request of the service and return its answer; ``params`` become the query."""
        if not path.startswith("/") or "?" in path or "#" in path:
            raise SeamMisused(f"{self._label} asks for {path!r}: give a path from the root, and the query as params.")
        body = b"" if data is None else encode(data)
        sent = Sent(method=method, path=path, query=urlencode(params or {}, doseq=True), body=body)
        self._check(sent)
        self.sent = sent
        try:
            answer = self._transport(sent)
        except NO_ANSWER as why:
            self.failure = why
            raise
        self.answered = answer
        if self._writes and not answer.ok:
            _raise_about_the_key(answer)
        return answer

    def _check(self, sent: Sent) -> None:
        if not self._writes and not sent.safe:
            raise SeamMisused(f"{self._label} is declared as a read, and its remote function sends a {sent.method}.")
        if self._writes and sent.safe:
            raise SeamMisused(
                f"The remote function of {self._label} sends a {sent.method}. It makes one request, the one that "
                "changes something; look things up before, or let the service do it."
            )
        if self._writes and self.sent is not None:
            raise SeamMisused(
                f"The remote function of {self._label} makes a second request ({sent.method} {sent.path}). Its key "
                "guards one; make two operations of it, or one request that does both."
            )


def _raise_about_the_key(answer: Answer) -> None:
    try:
        said = answer.json()
    except ValueError:
        return
    error: type[IdempotencyError] | None = ABOUT_THE_KEY.get(said.get("code", "")) if isinstance(said, dict) else None
    if error is not None:
        raise error
