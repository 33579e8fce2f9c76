"""A real server with an event loop, the reading room behind it, and a service made of bytes."""

import socket
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import connections

from router.idempotency.models import IdempotencyKey
from tests.core.port import Project
from tests.elsewhere.desk.models import Loan
from tests.processes import RunningProcess, database_url, free_port, start_process, wait_until
from tests.router.raw_server import Line, RawServer, ok, raw_server

pytestmark = pytest.mark.django_db(databases="__all__", transaction=True)
WAIT = 10.0
TOKEN = "t" * 32
CSRF = [f"Cookie: csrftoken={TOKEN}", f"X-CSRFToken: {TOKEN}"]


class Site:
    """The server, the service behind it, and what the service does with the next requests."""

    def __init__(self, port: int, process: RunningProcess, service: RawServer) -> None:
        self.port = port
        self.process = process
        self.service = service

    def script(self, line: Line) -> None:
        """Answer with ``ok`` unless a test says otherwise; no connection outlives its request, and so its test."""
        line.request()
        line.send(ok(b'{"by": "it"}', "Connection: close"))

    def ask(self, head: str, *fields: str, body: bytes = b"") -> socket.socket:
        """Send a request as it is and return the connection."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT)
        lines = [head, f"Host: 127.0.0.1:{self.port}", "Connection: close", *fields]
        client.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        return client

    def answer(self, head: str, *fields: str, body: bytes = b"") -> tuple[list[str], bytes]:
        """Send a request and return the lines of the answer's head, and its body."""
        with self.ask(head, *fields, body=body) as client:
            return read_all(client)


def read_all(client: socket.socket) -> tuple[list[str], bytes]:
    data = b""
    while part := client.recv(65536):
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    return head.decode("latin-1").split("\r\n"), body


@pytest.fixture(scope="module")
def served(django_db_setup: None) -> Iterator[Site]:
    """Run the site on the databases of the tests."""
    site: list[Site] = []
    with raw_server(lambda line: site[0].script(line)) as service:
        port = free_port()
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.elsewhere.served_settings",
            "LOANS_URL": f"http://127.0.0.1:{service.port}",
            "ELSEWHERE_DATABASE_URL": database_url("default"),
            "ELSEWHERE_LIBRARY_URL": database_url("library"),
        }
        command = [sys.executable, "-W", "error::Warning:django", "-m", "uvicorn", "tests.elsewhere.asgi:application"]
        command += ["--port", str(port), "--lifespan", "off", "--no-access-log", "--timeout-graceful-shutdown", "2"]
        with start_process(command, environment, f"http://127.0.0.1:{port}/outside/") as process:
            site.append(Site(port, process, service))
            yield site[0]
            output = process.log.read_text(errors="replace")
    assert "must consume" not in output
    assert "ResourceWarning" not in output


@pytest.fixture
def site(served: Site) -> Iterator[Site]:
    served.service.requests.clear()
    yield served
    vars(served).pop("script", None)


def form(book: str = "Emma") -> tuple[bytes, list[str]]:
    body = f"book={book}".encode()
    return body, [f"Content-Length: {len(body)}", "Content-Type: application/x-www-form-urlencoded", *CSRF]


class TestFidelity:
    def test_a_request_arrives_as_it_was_sent(self, site: Site) -> None:
        target = "/cards/%43-17/?q=%20+%E4&&a=b=c"
        site.answer(f"GET {target} HTTP/1.1", "Accept: a", "Accept: b", "X-Strangler-Identity: forged", "X_Odd: 1")
        (request,) = site.service.requests
        lines = request.decode("latin-1").split("\r\n")
        assert lines[0] == f"GET {target} HTTP/1.1"
        assert [line for line in lines if line.startswith("Accept:")] == ["Accept: a", "Accept: b"]
        assert not [line for line in lines if "forged" in line or line.lower().startswith(("x_odd", "connection"))]
        assert f"X-Forwarded-Host: 127.0.0.1:{site.port}" in lines

    def test_an_answer_arrives_as_it_was_given(self, site: Site) -> None:
        sent = [
            "Set-Cookie: a=1; Path=/",
            "Set-Cookie: b=2",
            "X-N: 1",
            "X-N: 2",
            "Server: hidden",
            "X-Accel-Buffer: no",
        ]
        site.script = lambda line: line.request() and line.send(ok(b"\x00\xff", *sent))  # type: ignore[method-assign,assignment]
        lines, body = site.answer("GET /cards/a/ HTTP/1.1")
        lowered = [line.lower() for line in lines]
        assert body == b"\x00\xff"
        for expected in ("set-cookie: a=1; path=/", "set-cookie: b=2", "x-n: 1", "x-n: 2", "content-length: 2"):
            assert lowered.count(expected) == 1, lines
        assert not [line for line in lowered if "hidden" in line or line.startswith("x-accel")]
        assert len([line for line in lowered if line.startswith("date:")]) == 1

    @pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
    def test_answers_without_a_body(self, site: Site, status: str) -> None:
        site.script = lambda line: (
            line.request() and line.send(f"HTTP/1.1 {status}\r\nConnection: close\r\n\r\n".encode())
        )  # type: ignore[method-assign,assignment]
        lines, body = site.answer("GET /cards/a/ HTTP/1.1")
        assert (lines[0], body) == (f"HTTP/1.1 {status}", b"")
        assert not [line for line in lines if line.lower().startswith("content-length")]

    def test_head_keeps_the_length_that_get_would_have(self, site: Site) -> None:
        site.script = lambda line: (
            line.request() and line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")
        )  # type: ignore[method-assign,assignment]
        lines, body = site.answer("HEAD /cards/a/ HTTP/1.1")
        assert ("content-length: 5" in [line.lower() for line in lines], body) == (True, b"")

    @pytest.mark.parametrize("size", [10, 1_500_000], ids=["kept", "streamed"])
    @pytest.mark.parametrize("chunked", [False, True])
    def test_bodies(self, site: Site, size: int, chunked: bool) -> None:
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        framing = ["Transfer-Encoding: chunked"] if chunked else [f"Content-Length: {size}"]
        sent = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body) if chunked else body
        lines, _ = site.answer("POST /cards/a/ HTTP/1.1", "Content-Type: a/b", *framing, *CSRF, body=sent)
        assert lines[0] == "HTTP/1.1 200 OK"
        (request,) = site.service.requests
        assert request.partition(b"\r\n\r\n")[2] == body
        assert f"Content-Length: {size}".encode() in request


class TestStreams:
    def parts(self, go_on: threading.Event, *after: bytes) -> Any:
        def script(line: Line) -> None:
            line.request()
            line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\none\r\n")
            go_on.wait(WAIT)
            for part in after:
                line.send(part)

        return script

    def until(self, client: socket.socket, mark: bytes) -> bytes:
        data = b""
        while mark not in data:
            part = client.recv(65536)
            assert part, data
            data += part
        return data

    def test_parts_arrive_as_they_are_sent(self, site: Site) -> None:
        go_on = threading.Event()
        site.script = self.parts(go_on, b"3\r\ntwo\r\n0\r\n\r\n")  # type: ignore[method-assign]
        with site.ask("GET /cards/a/ HTTP/1.1") as client:
            assert b"two" not in self.until(client, b"one")
            go_on.set()
            assert b"two" in self.until(client, b"0\r\n\r\n")

    def test_an_answer_that_breaks_off_is_not_made_whole(self, site: Site) -> None:
        go_on = threading.Event()
        go_on.set()
        site.script = self.parts(go_on)  # type: ignore[method-assign]
        with site.ask("GET /cards/a/ HTTP/1.1") as client:
            data = b""
            with suppress(ConnectionResetError):
                while part := client.recv(65536):
                    data += part
        assert b"one" in data
        assert not data.endswith(b"0\r\n\r\n")

    def test_when_the_client_hangs_up_the_service_is_let_go(self, site: Site) -> None:
        """The service is silent meanwhile: nobody may wait for its next part."""
        let_go = threading.Event()

        def silent(line: Line) -> None:
            line.request()
            line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\none\r\n")
            if line.sock.recv(1) == b"":
                let_go.set()

        site.script = silent  # type: ignore[method-assign]
        with site.ask("GET /cards/a/ HTTP/1.1") as client:
            self.until(client, b"one")
        assert let_go.wait(4.0)
        vars(site).pop("script")
        assert site.answer("GET /cards/a/ HTTP/1.1")[0][0] == "HTTP/1.1 200 OK"


class TestOthers:
    def test_nobody_waits_for_a_slow_service(self, site: Site) -> None:
        """Some are waiting for it; legacy's pages and other clients of the service are answered meanwhile."""
        go_on = threading.Event()

        def slow(line: Line) -> None:
            if b"/cards/slow/" in line.request():
                go_on.wait(WAIT)
            line.send(ok(b"{}", "Connection: close"))

        site.script = slow  # type: ignore[method-assign]
        waiting = [site.ask("GET /cards/slow/ HTTP/1.1") for _ in range(6)]
        wait_until(lambda: len(site.service.requests) == 6, "the slow ones are with the service", WAIT)
        assert site.answer("GET /outside/ HTTP/1.1")[1] == b'{"outside": true}'
        assert site.answer("GET /cards/quick/ HTTP/1.1")[1] == b"{}"
        go_on.set()
        for client in waiting:
            with client:
                assert read_all(client)[1] == b"{}"


class TestFallback:
    def test_legacy_answers_a_read(self, site: Site) -> None:
        site.script = lambda line: line.request() and line.reset()  # type: ignore[method-assign,assignment]
        lines, body = site.answer("GET /cards/a/ HTTP/1.1")
        assert (lines[0], body) == ("HTTP/1.1 200 OK", b'{"loans": [], "title": "Yes"}')

    def test_a_write_takes_effect_once(self, site: Site) -> None:
        site.script = lambda line: line.request() and line.reset()  # type: ignore[method-assign,assignment]
        body, fields = form()
        answers = [site.answer("POST /cards/a/ HTTP/1.1", "Idempotency-Key: k", *fields, body=body) for _ in range(2)]
        assert [lines[0] for lines, _ in answers] == ["HTTP/1.1 302 Found"] * 2
        assert "location: /cards/a/" in [line.lower() for line in answers[1][0]]
        assert Loan.objects.count() == 1

    def test_an_async_view_shares_the_user(self, site: Site, project: Project) -> None:
        ann = project.person("ann")
        Loan.objects.create(reader=ann.pk, book="Emma")
        cookie = project.client_of(ann).cookies["sessionid"].value
        site.script = lambda line: line.request() and line.reset()  # type: ignore[method-assign,assignment]
        assert site.answer("GET /later/ HTTP/1.1", f"Cookie: sessionid={cookie}")[1] == (
            b'{"loans": ["Emma"], "title": "later"}'
        )

    def test_who_hangs_up_in_the_middle_of_a_write_finds_it_done(self, site: Site) -> None:
        """The service gives no answer after the client has gone; legacy does the work and keeps its answer."""
        go_on = threading.Event()

        def slow(line: Line) -> None:
            line.request()
            go_on.wait(WAIT)
            line.reset()

        site.script = slow  # type: ignore[method-assign]
        key = f"Idempotency-Key: {uuid.uuid4()}"
        body, fields = form()
        with site.ask("POST /cards/a/ HTTP/1.1", key, *fields, body=body):
            wait_until(lambda: len(site.service.requests) == 1, "the service has the request", WAIT)
        with site.ask("GET /outside/ HTTP/1.1") as other:  # the loop has seen the other one go
            read_all(other)
        go_on.set()
        wait_until(lambda: IdempotencyKey.objects.filter(state="done").exists(), "the key is settled", WAIT)
        connections.close_all()
        lines, _ = site.answer("POST /cards/a/ HTTP/1.1", key, *fields, body=body)
        assert (lines[0], Loan.objects.count()) == ("HTTP/1.1 302 Found", 1)
