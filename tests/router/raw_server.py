"""An upstream made of bytes: each connection is answered by a function, so that anything can go wrong."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from router.conf import Timeouts
from router.forward import OutboundRequest, Upstream

WAIT = 5.0


class Line:
    """One accepted connection, from the upstream's side."""

    def __init__(self, sock: socket.socket, server: "RawServer") -> None:
        self.sock = sock
        self.server = server
        self.read = sock.makefile("rb")

    def request(self) -> bytes:
        """Read one request, body included, and remember it; nothing if the client went away."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.read.readline()
            if not line:
                return b""
            head += line
        body = b""
        lowered = head.lower()
        if b"transfer-encoding: chunked" in lowered:
            while size := int(self.read.readline(), 16):
                body += self.read.read(size)
                self.read.readline()
            self.read.readline()
        elif b"content-length:" in lowered:
            body = self.read.read(int(lowered.split(b"content-length:")[1].split(b"\r\n")[0]))
        self.server.requests.append(head + body)
        return head + body

    def send(self, data: bytes) -> Self:
        """Send bytes as they are."""
        self.sock.sendall(data)
        return self

    def wait_for_test(self) -> None:
        """Hold the connection open until the test is over."""
        self.server.over.wait(WAIT)

    def reset(self) -> None:
        """Close with a reset, which discards what the client has not read."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.read.close()
        self.sock.close()


Script = Callable[[Line], None]


class RawServer:
    """A listening socket; the script of a connection is chosen by its number, the last one stays."""

    def __init__(self, scripts: tuple[Script, ...]) -> None:
        self.scripts = scripts
        self.requests: list[bytes] = []
        self.connections = 0
        self.over = threading.Event()
        self.closed = threading.Semaphore(0)
        self.errors: list[BaseException] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.threads: list[threading.Thread] = []
        self.accepted: list[socket.socket] = []

    def upstream(self, **timeouts: float) -> Upstream:
        """Return this server as an upstream, quick to give up if told so."""
        limits = Timeouts(**{"connect": 1.0, "first_byte": 3.0, "total": 5.0, **timeouts})
        return Upstream(service="orders", store="shared", base_url=f"http://127.0.0.1:{self.port}", timeouts=limits)

    def serve(self) -> None:
        """Accept until the listener is closed."""
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            script = self.scripts[min(self.connections, len(self.scripts) - 1)]
            self.connections += 1
            self.accepted.append(sock)
            thread = threading.Thread(target=self._run, args=(sock, script), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _run(self, sock: socket.socket, script: Script) -> None:
        sock.settimeout(WAIT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line = Line(sock, self)
        try:
            script(line)
        except OSError:
            # The client hung up; that is what some tests are about.
            self.errors.append(ConnectionError("the client hung up"))
        finally:
            line.read.close()
            sock.close()
            self.closed.release()


@contextmanager
def raw_server(*scripts: Script) -> Iterator[RawServer]:
    """Run a server until the block ends."""
    server = RawServer(scripts)
    accepting = threading.Thread(target=server.serve, daemon=True)
    accepting.start()
    try:
        yield server
    finally:
        server.over.set()
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
        accepting.join(WAIT)
        for sock in server.accepted:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in server.threads:
            thread.join(WAIT)


def answering(data: bytes) -> Script:
    """Answer every request on the connection with the same bytes."""

    def script(line: Line) -> None:
        while line.request():
            line.send(data)

    return script


def once(data: bytes) -> Script:
    """Answer one request with these bytes, then close."""

    def script(line: Line) -> None:
        line.request()
        line.send(data)

    return script


def get(path: str = "/", **changes: object) -> OutboundRequest:
    """Return a plain GET."""
    values: dict[str, object] = {"method": "GET", "raw_path_qs": path, "headers": [("Host", "shop.test")]}
    return OutboundRequest(**{**values, **changes})  # type: ignore[arg-type]


def ok(body: bytes = b"hello", *headers: str) -> bytes:
    """Return the bytes of a 200 with a length."""
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
