"""What goes to an upstream, what comes back, and what can go wrong on the way."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from router.conf import Timeouts
from router.exceptions import ConfigurationError, StranglerError

Headers = list[tuple[str, str]]


class Readable(Protocol):
    """A request body that is handed on as it arrives."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, nothing at the end."""


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A running instance of a service for one store."""

    service: str
    store: str
    base_url: str
    timeouts: Timeouts = field(default_factory=Timeouts)
    idle_seconds: float = 1.5
    """How long a connection may wait for its next request; below the keep-alive time of the server (gunicorn: 2 s)."""

    @cached_property
    def patient(self) -> "Upstream":
        """Return the same without a deadline of its own for the first byte: for what nobody else may do instead."""
        return replace(self, timeouts=replace(self.timeouts, first_byte=self.timeouts.total))

    @property
    def name(self) -> str:
        """Return the name the breaker, the metrics and the operator use."""
        return f"{self.service}.{self.store}"

    @cached_property
    def url(self) -> SplitResult:
        """Return the parts of the base URL, refusing what can not be reached over HTTP."""
        parts = urlsplit(self.base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ConfigurationError(
                f"upstream {self.name}: {self.base_url!r} is not a base URL. Use http://host:port or https://host:port."
            )
        return parts

    @cached_property
    def address(self) -> tuple[str, str, int]:
        """Return scheme, host and port to connect to."""
        url = self.url
        return url.scheme, url.hostname or "", url.port or (443 if url.scheme == "https" else 80)


@dataclass(frozen=True, kw_only=True)
class OutboundRequest:
    """A request as the upstream is to receive it; ``headers`` come from ``outbound_headers``."""

    method: str
    raw_path_qs: str
    """Path and query as the client spelled them: nothing decoded, nothing normalised."""
    headers: Headers
    body: bytes | Readable = b""
    content_length: int | None = None
    """Length of a ``Readable`` body; without it the body is sent in chunks."""
    deadline: float | None = None
    """``time.monotonic()`` by which the last byte must be here, if earlier than the upstream's total."""


@dataclass(frozen=True, kw_only=True)
class UpstreamResponse:
    """The upstream's answer; a body that is no ``bytes`` is still arriving and has to be iterated or closed."""

    status: int
    reason: str
    headers: Headers
    body: "bytes | BodyIterator"
    elapsed: float

    def header(self, name: str) -> str | None:
        """Return the first value of a header."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    def close(self) -> None:
        """Let go of the connection, whether or not the body was read."""
        if not isinstance(self.body, bytes):
            self.body.close()


class BodyIterator(Iterator[bytes], Protocol):
    """The rest of an answer, as it arrives; raises ``Ambiguous`` if it breaks off."""

    def close(self) -> None:
        """Let go of the connection."""


class ForwardError(StranglerError):
    """The upstream gave no complete answer."""

    def __init__(self, upstream: Upstream, cause: str, detail: str) -> None:
        super().__init__(f"upstream {upstream.name} at {upstream.base_url}: {detail}")
        self.upstream = upstream
        self.cause = cause
        """A short code for metrics: connect_refused, reset, truncated, protocol, client, and the like."""


class NotSent(ForwardError):
    """Certainly no byte of the request has reached the upstream: another side may answer it."""


class Ambiguous(ForwardError):
    """The request went out, at least in part, and no complete answer came: it may or may not have been executed."""


class BodyUnreadable(Ambiguous):
    """The client's body broke off while it was being handed on; that is not the upstream's fault."""
