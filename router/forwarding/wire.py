"""HTTP/1.1 on a socket, every read and write under a deadline; strict about what could be read in two ways."""

import re
import select
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from router.forwarding.messages import Headers

MAX_HEAD = 65_536
MAX_INTERIM = 16
CHUNK = 65_536
CRLF = b"\r\n"

STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")
FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
BAD_IN_VALUE = re.compile(r"[\x00\r\n]")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")


class WireError(Exception):
    """The exchange on the socket broke off; ``cause`` is the short code that metrics count."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause


@dataclass(frozen=True)
class Head:
    """Status line and header fields of a final answer."""

    status: int
    reason: str
    headers: Headers
    length: int | None
    """Bytes of body to come; None when they are chunked or end with the connection."""
    chunked: bool
    reusable: bool
    """Whether the connection can take another request after the body."""


class Connection:
    """A connected socket with what was read ahead of need."""

    __slots__ = ("_buffer", "_poll", "expires", "reused", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.expires = 0.0
        self.reused = False
        self._buffer = b""
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def quiet(self) -> bool:
        """Return whether nothing was read ahead and nothing (not even an end) waits to be read."""
        return not self._buffer and not self._poll.poll(0)

    def close(self) -> None:
        """Close the socket; a second time does no harm."""
        self.sock.close()

    def wake(self) -> None:
        """Let whoever waits for this connection in another thread find its end."""
        with suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)  # not TLS's own, which is not made for two threads

    def send_some(self, data: bytes, deadline: float) -> int:
        """Send what the kernel takes at once; an error means that it took nothing."""
        self._arm(deadline, "total_deadline")
        return self.sock.send(data)

    def send_all(self, data: bytes | memoryview, deadline: float) -> None:
        """Send all of ``data`` before the deadline."""
        self._arm(deadline, "total_deadline")
        try:
            self.sock.sendall(data)
        except TimeoutError as error:
            raise WireError("total_deadline", "the request could not be sent in time") from error

    def receive(self, deadline: float, cause: str = "total_deadline") -> bytes:
        """Return the next bytes from the socket, nothing at its end."""
        self._arm(deadline, cause)
        try:
            return self.sock.recv(CHUNK)
        except TimeoutError as error:
            raise WireError(cause, f"{WAITED_FOR[cause]} by the deadline") from error
        except OSError as error:
            raise WireError("reset", f"the connection broke while reading ({error})") from error

    def take(self, size: int, deadline: float) -> bytes:
        """Return up to ``size`` of the next bytes, nothing at the end of the connection."""
        data = self._buffer or self.receive(deadline)
        self._buffer = data[size:]
        return data[:size]

    def until(self, mark: bytes, limit: int, deadline: float, first_byte: float | None = None) -> bytes:
        """Return what comes before ``mark``, consuming both."""
        data = self._buffer
        if not data and first_byte is not None and first_byte < deadline:
            data = self.receive(first_byte, "first_byte_deadline")
            if not data:
                raise WireError("reset", "the connection was closed without an answer")
        while (end := data.find(mark, 0, limit)) < 0:
            if len(data) >= limit:
                raise WireError("protocol", f"no end of line or header within {limit} bytes")
            more = self.receive(deadline)
            if not more:
                raise WireError(
                    "truncated" if data else "reset", "the connection was closed in the middle of an answer"
                )
            data += more
        self._buffer = data[end + len(mark) :]
        return data[:end]

    def _arm(self, deadline: float, cause: str) -> None:
        left = deadline - monotonic()
        if left <= 0:
            raise WireError(cause, f"{WAITED_FOR[cause]} by the deadline")
        self.sock.settimeout(left)


WAITED_FOR = {
    "first_byte_deadline": "no first byte of an answer",
    "total_deadline": "the exchange was not complete",
}


def read_head(connection: Connection, method: str, first_byte: float, deadline: float) -> Head:
    """Read the head of the final answer, past 100 Continue and other interim ones."""
    for _ in range(MAX_INTERIM):
        lines = connection.until(b"\r\n\r\n", MAX_HEAD, deadline, first_byte).decode("latin-1").split("\r\n")
        match = STATUS_LINE.fullmatch(lines[0])
        if match is None:
            raise WireError("protocol", f"{lines[0][:80]!r} is no HTTP/1.x status line")
        status = int(match[2])
        if status == 101:
            raise WireError("protocol", "the answer switches protocols, which nobody asked for")
        if status >= 200:
            return _head(method, status, match[3] or "", match[1] == "1", _fields(lines[1:]))
    raise WireError("protocol", f"more than {MAX_INTERIM} interim answers")


def read_body(connection: Connection, head: Head, deadline: float) -> Iterator[bytes]:
    """Yield the body as it arrives, its framing taken off."""
    if head.chunked:
        yield from _read_chunked(connection, deadline)
    elif head.length is None:
        while data := connection.take(CHUNK, deadline):
            yield data
    else:
        left = head.length
        while left:
            data = connection.take(min(left, CHUNK), deadline)
            if not data:
                raise WireError("truncated", f"the body ended {left} bytes short of {head.length}")
            left -= len(data)
            yield data


def _fields(lines: list[str]) -> Headers:
    fields: Headers = []
    for line in lines:
        if line[:1] in {" ", "\t"} and fields:
            name, value = fields.pop()
            value = f"{value} {line.strip()}"
        else:
            name, colon, value = line.partition(":")
            if not colon or FIELD_NAME.fullmatch(name) is None:
                raise WireError("protocol", f"{line[:80]!r} is no header field")
            value = value.strip(" \t")
        if BAD_IN_VALUE.search(value):
            raise WireError("protocol", f"header {name} has a control character in its value")
        fields.append((name, value))
    return fields


def _head(method: str, status: int, reason: str, http11: bool, headers: Headers) -> Head:
    lengths: set[str] = set()
    codings: list[str] = []
    options: list[str] = []
    for name, value in headers:
        lowered = name.lower()
        if lowered == "content-length":
            lengths.update(part.strip() for part in value.split(","))
        elif lowered == "transfer-encoding":
            codings.extend(part.strip().lower() for part in value.split(","))
        elif lowered == "connection":
            options.extend(part.strip().lower() for part in value.split(","))
    if len(lengths) > 1 or any(not (text.isascii() and text.isdigit()) for text in lengths):
        raise WireError("protocol", f"Content-Length {', '.join(sorted(lengths))!r} is not one length")
    if codings and (codings != ["chunked"] or not http11 or lengths):
        raise WireError("protocol", f"Transfer-Encoding {', '.join(codings)!r} can not be trusted here")
    keep = http11 and "close" not in options
    if method == "HEAD" or status in {204, 304}:
        return Head(status, reason, headers, 0, False, keep)
    if codings:
        return Head(status, reason, headers, None, True, keep)
    if lengths:
        return Head(status, reason, headers, int(lengths.pop()), False, keep)
    return Head(status, reason, headers, None, False, False)


def _read_chunked(connection: Connection, deadline: float) -> Iterator[bytes]:
    while True:
        line = connection.until(CRLF, 4096, deadline)
        match = CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise WireError("protocol", f"{line[:40]!r} is no chunk size")
        left = int(match[1], 16)
        if not left:
            break
        while left:
            data = connection.take(min(left, CHUNK), deadline)
            if not data:
                raise WireError("truncated", "the connection was closed in the middle of a chunk")
            left -= len(data)
            yield data
        if connection.until(CRLF, 2, deadline):
            raise WireError("protocol", "a chunk is longer than its size")
    for _ in range(100):
        if not connection.until(CRLF, MAX_HEAD, deadline):
            return
    raise WireError("protocol", "more than 100 trailer fields")
