"""Send one request to an upstream, and know afterwards whether it can have been executed."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic
from typing import Protocol

from router.forwarding.headers import received_headers
from router.forwarding.messages import (
    Ambiguous,
    BodyUnreadable,
    ForwardError,
    NotSent,
    OutboundRequest,
    Readable,
    Upstream,
    UpstreamResponse,
)
from router.forwarding.pool import ConnectionPool, connect, pool_for
from router.forwarding.wire import CHUNK, FIELD_NAME, Connection, Head, WireError, read_body, read_head

SMALL_BODY = 262_144
"""Bodies up to this many bytes are read before answering, so that a fallback is still possible."""
METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class Onlooker(Protocol):
    """Who sees a body pass on its way to the client; neither method may raise or wait."""

    def passed(self, part: bytes) -> None:
        """See a part that goes to the client now."""

    def ended(self, *, complete: bool) -> None:
        """Learn that nothing more comes, and whether that was all."""


class BodyStream:
    """A body still arriving; the connection goes back to the pool at its end and nowhere else."""

    def __init__(
        self,
        upstream: Upstream,
        parts: Iterator[bytes],
        finish: Callable[[bool], None],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.upstream = upstream
        self._parts = parts
        self._finish: Callable[[bool], None] | None = finish
        self._wake = wake
        self.on_failure: Callable[[ForwardError], None] | None = None
        self.onlooker: Onlooker | None = None

    def __iter__(self) -> "BodyStream":
        return self

    def __next__(self) -> bytes:
        try:
            part = next(self._parts)
        except StopIteration:
            self._end(complete=True)
            raise
        except WireError as error:
            self._end(complete=False)
            failure = Ambiguous(self.upstream, error.cause, str(error))
            if self.on_failure is not None:
                self.on_failure(failure)
            raise failure from error
        if self.onlooker is not None:
            self.onlooker.passed(part)
        return part

    def close(self) -> None:
        """Let go of the connection."""
        self._end(complete=False)

    def interrupt(self) -> None:
        """End the wait of another thread for the next part, which nobody wants any more; then close.

        Closing alone would leave that thread waiting, on a socket whose number may be given to another one.
        """
        self.on_failure = None
        self._wake()

    def _end(self, *, complete: bool) -> None:
        finish, self._finish = self._finish, None
        if finish is None:
            return
        finish(complete)
        if self.onlooker is not None:
            self.onlooker.ended(complete=complete)


def send(upstream: Upstream, request: OutboundRequest) -> UpstreamResponse:
    """Return the upstream's answer, or raise ``NotSent`` or ``Ambiguous``."""
    started = monotonic()
    deadline = started + upstream.timeouts.total
    if request.deadline is not None:
        deadline = min(deadline, request.deadline)
    body = request.body if isinstance(request.body, bytes) else _Feed(upstream, request.body, request.content_length)
    head = encode_head(upstream, request)
    pool = pool_for(upstream)
    connection, rest = _send_first(upstream, pool, head + body if isinstance(body, bytes) else head, deadline)
    try:
        whole = _send_rest(upstream, connection, rest, body, deadline)
        answer = read_head(connection, request.method, monotonic() + upstream.timeouts.first_byte, deadline)
        return _response(upstream, pool, connection, answer, whole, started, deadline)
    except WireError as error:
        connection.close()
        raise Ambiguous(upstream, error.cause, str(error)) from error
    except BaseException:
        connection.close()
        raise


def encode_head(upstream: Upstream, request: OutboundRequest) -> bytes:
    """Return request line and header fields as bytes, refusing what would smuggle in another line."""
    prefix = upstream.url.path.rstrip("/")
    lines = [f"{request.method} {prefix}{request.raw_path_qs} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    if not isinstance(request.body, bytes):
        length = request.content_length
        lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
    elif request.body or request.method in METHODS_WITH_BODY:
        lines.append(f"Content-Length: {len(request.body)}")
    text = "\r\n".join(lines)
    breaks = len(lines) - 1
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text or lines[0].count(" ") != 2:
        raise ValueError(
            f"{request.method} {request.raw_path_qs[:200]!r}: method, target or a header has a blank or a control "
            "character in it. Take the target from raw_target() and the headers from outbound_headers()."
        )
    if not all(FIELD_NAME.fullmatch(name) for name, _ in request.headers):
        raise ValueError(f"{[name for name, _ in request.headers]!r}: not all of these are names of header fields.")
    return text.encode("latin-1") + b"\r\n\r\n"


class _Feed:
    """A request body read piece by piece, the first before anything is sent."""

    def __init__(self, upstream: Upstream, source: Readable, length: int | None) -> None:
        self._upstream = upstream
        self._source = source
        self._left = length
        self._chunked = length is None
        self._first: bytes | None = self._read()

    def __iter__(self) -> Iterator[bytes]:
        piece, self._first = self._first, None
        while piece:
            yield b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece
            piece = self._read()
        if self._chunked:
            yield b"0\r\n\r\n"

    def _read(self) -> bytes:
        if self._left == 0:
            return b""
        try:
            piece = self._source.read(CHUNK if self._left is None else min(CHUNK, self._left))
        except OSError as error:
            raise BodyUnreadable(self._upstream, "client", f"the client's body broke off ({error})") from error
        if self._left is not None:
            if not piece:
                raise BodyUnreadable(self._upstream, "client", f"the client's body ended {self._left} bytes early")
            self._left -= len(piece)
        return piece


def _send_first(upstream: Upstream, pool: ConnectionPool, data: bytes, deadline: float) -> tuple[Connection, bytes]:
    """Return a connection that has taken the beginning of ``data``, and the rest of ``data``."""
    while True:
        connection = pool.take() or connect(upstream, deadline)
        try:
            sent = connection.send_some(data, deadline)
        except (OSError, WireError) as error:
            connection.close()
            if isinstance(connection.sock, ssl.SSLSocket):
                # A TLS record may have gone out in part.
                raise Ambiguous(upstream, "reset", f"the connection broke while sending ({error})") from error
            if connection.reused and not isinstance(error, WireError):
                continue  # the upstream closed it meanwhile, and the kernel took nothing
            raise NotSent(upstream, "connect", f"the connection took no byte ({error})") from error
        return connection, data[sent:]


def _send_rest(upstream: Upstream, connection: Connection, rest: bytes, body: "bytes | _Feed", deadline: float) -> bool:
    """Send what is left; return False if the upstream hung up, as it may after an early answer (413, 401)."""
    try:
        if rest:
            connection.send_all(rest, deadline)
        if not isinstance(body, bytes):
            for piece in body:
                if monotonic() >= deadline:  # what was read before went out in time
                    raise BodyUnreadable(upstream, "client", "the client's body did not come in time")
                connection.send_all(piece, deadline)
    except OSError:
        return False
    return True


def _response(
    upstream: Upstream,
    pool: ConnectionPool,
    connection: Connection,
    head: Head,
    whole: bool,
    started: float,
    deadline: float,
) -> UpstreamResponse:
    def finish(complete: bool) -> None:
        if complete and whole and head.reusable:
            pool.put(connection, upstream.idle_seconds)
        else:
            with suppress(OSError):
                connection.close()

    stream = BodyStream(upstream, read_body(connection, head, deadline), finish, connection.wake)
    small = head.length is not None and head.length <= SMALL_BODY
    return UpstreamResponse(
        status=head.status,
        reason=head.reason,
        headers=received_headers(head.headers, head.status),
        body=b"".join(stream) if small else stream,
        elapsed=monotonic() - started,
    )
