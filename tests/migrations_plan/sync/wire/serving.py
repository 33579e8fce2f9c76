"""Real HTTP servers in a thread: one that serves a side over the wire, one that answers whatever a test wants."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

from migrations_plan.sync.conf import Peer
from migrations_plan.sync.messages import Side
from migrations_plan.sync.wire.views import answered

SECRET = "a secret between the two sides, long enough for everybody"
AUDIENCE = "things-service"


class Asked(BaseHTTPRequestHandler):
    """One request that a test answers as it likes."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    body = b""


Canned = Callable[[Asked], None]


class QuietHandler(WSGIRequestHandler):
    """Django's own, which keeps connections; it counts them, and logs nothing."""

    disable_nagle_algorithm = True  # headers and body are written apart, and would wait for each other

    def setup(self) -> None:
        super().setup()
        self.server.connected.append(self.client_address)  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(side: Side) -> Iterator[tuple[Peer, list[Any]]]:
    """Serve a side; the block gets the peer to call, and a list of the connections that were made."""

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        request = WSGIRequest(environ)
        _, _, aggregate, verb = request.path_info.split("/")
        response = answered(request, aggregate, verb, side)
        status = f"{response.status_code} {response.reason_phrase}"
        start_response(status, [*response.items(), ("Content-Length", str(len(response.content)))])
        return [response.content]

    server = ThreadedWSGIServer(("127.0.0.1", 0), QuietHandler, ipv6=False, allow_reuse_address=True)
    server.daemon_threads = True
    server.connected = []
    server.set_app(application)
    with _running(server):
        yield peer_at(server.server_port), server.connected


@contextmanager
def canned(answer: Canned) -> Iterator[Peer]:
    """Serve nothing but one answer, which may break every rule."""

    class Handler(Asked):
        def do_POST(self) -> None:
            self.body = self.rfile.read(int(self.headers["Content-Length"]))
            answer(self)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with _running(server):
        yield peer_at(server.server_port)


def reply(status: int, body: bytes, **headers: str) -> Canned:
    """Return an answer with this status, body and these headers, ``_`` for ``-``."""

    def answer(handler: Asked) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def peer_at(port: int) -> Peer:
    """Return the peer behind a port."""
    return Peer(url=f"http://127.0.0.1:{port}/sync/", secret=SECRET, audience=AUDIENCE)


@contextmanager
def _running(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
