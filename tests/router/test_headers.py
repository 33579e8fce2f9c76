"""Headers in both directions, the target, and Django's response, at last through a real gunicorn."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from django.utils.cache import patch_vary_headers

from router.forward import Headers, UpstreamResponse, outbound_headers, raw_target, to_django
from router.forwarding.headers import received_headers
from tests.router.raw_server import Line, RawServer, raw_server

ROOT = Path(__file__).resolve().parents[2]


def environ(**changes: Any) -> dict[str, Any]:
    """Return what a WSGI server hands over."""
    plain = {"REQUEST_METHOD": "GET", "REMOTE_ADDR": "10.0.0.7", "wsgi.url_scheme": "http", "HTTP_HOST": "shop.test"}
    return {**plain, **changes}


def answer(*headers: tuple[str, str], status: int = 200, body: bytes = b"x") -> UpstreamResponse:
    """Return an upstream's answer."""
    return UpstreamResponse(status=status, reason="OK", headers=list(headers), body=body, elapsed=0.0)


class TestOutbound:
    def test_what_the_client_sent_passes_with_who_it_is(self) -> None:
        headers = outbound_headers(
            environ(HTTP_ACCEPT="a/b", HTTP_COOKIE="sessionid=1", HTTP_AUTHORIZATION="Token t", CONTENT_TYPE="text/x")
        )
        assert headers == [
            ("Host", "shop.test"),
            ("Accept", "a/b"),
            ("Cookie", "sessionid=1"),
            ("Authorization", "Token t"),
            ("Content-Type", "text/x"),
            ("X-Forwarded-For", "10.0.0.7"),
            ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Host", "shop.test"),
        ]

    @pytest.mark.parametrize(
        "name",
        [
            "HTTP_CONNECTION",
            "HTTP_KEEP_ALIVE",
            "HTTP_PROXY_AUTHENTICATE",
            "HTTP_PROXY_AUTHORIZATION",
            "HTTP_PROXY_CONNECTION",
            "HTTP_TE",
            "HTTP_TRAILER",
            "HTTP_TRANSFER_ENCODING",
            "HTTP_UPGRADE",
            "HTTP_EXPECT",
            "HTTP_X_STRANGLER_IDENTITY",
            "HTTP_X_STRANGLER_SHADOW",
            "HTTP_X_STRANGLER_ANYTHING_ELSE",
            "CONTENT_LENGTH",
            "HTTP_CONTENT_LENGTH",
        ],
    )
    def test_what_is_removed(self, name: str) -> None:
        assert outbound_headers(environ(**{name: "1"})) == outbound_headers(environ())

    def test_what_connection_names_is_removed_but_never_the_host(self) -> None:
        named = environ(HTTP_CONNECTION="close, X-Private ,HOST", HTTP_X_PRIVATE="1", HTTP_X_PUBLIC="2")
        names = [name for name, _ in outbound_headers(named)]
        assert "X-Public" in names
        assert "Host" in names
        assert "X-Private" not in names

    def test_connection_cannot_name_what_the_router_sets(self) -> None:
        headers = dict(outbound_headers(environ(HTTP_CONNECTION="X-Forwarded-For, X-Forwarded-Proto")))
        assert (headers["X-Forwarded-For"], headers["X-Forwarded-Proto"]) == ("10.0.0.7", "http")

    def test_forwarded_for_is_continued_and_the_rest_replaced(self) -> None:
        spoofed = environ(
            HTTP_X_FORWARDED_FOR="1.2.3.4", HTTP_X_FORWARDED_PROTO="https", HTTP_X_FORWARDED_HOST="evil.test"
        )
        headers = outbound_headers(spoofed)
        assert [field for field in headers if field[0].startswith("X-Forwarded")] == [
            ("X-Forwarded-For", "1.2.3.4, 10.0.0.7"),
            ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Host", "shop.test"),
        ]

    @override_settings(USE_X_FORWARDED_HOST=True)
    def test_a_trusted_forwarded_host_is_kept(self) -> None:
        headers = dict(outbound_headers(environ(HTTP_X_FORWARDED_HOST="www.shop.test")))
        assert headers["X-Forwarded-Host"] == "www.shop.test"

    @override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"))
    def test_the_scheme_is_the_one_django_believes(self) -> None:
        request = RequestFactory().get("/", headers={"X-Forwarded-Proto": "https"})
        assert dict(outbound_headers(request))["X-Forwarded-Proto"] == "https"

    def test_asgi_keeps_repeated_fields_and_drops_underscores(self) -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [
                (b"host", b"shop.test"),
                (b"accept", b"a"),
                (b"accept", b"b"),
                (b"x_strangler_identity", b"forged"),
                (b"x-strangler_identity", b"forged"),
                (b"x-strangler-identity", b"forged"),
                (b"content_length", b"7"),
            ],
            "client": ("10.0.0.7", 1),
        }
        headers = outbound_headers(ASGIRequest(scope, None))  # type: ignore[arg-type]
        assert [value for name, value in headers if name == "Accept"] == ["a", "b"]
        assert not [name for name, _ in headers if "strangler" in name.lower() or "length" in name.lower()]


class TestTarget:
    @pytest.mark.parametrize(
        ("given", "target"),
        [
            ({"RAW_URI": "/a%2Fb//c/../d?x=%20&y"}, "/a%2Fb//c/../d?x=%20&y"),
            ({"RAW_URI": "//double"}, "//double"),
            ({"RAW_URI": "http://shop.test/a?b"}, "/a?b"),
            ({"RAW_URI": "http://shop.test"}, "/"),
            ({"REQUEST_URI": "/uwsgi?1"}, "/uwsgi?1"),
            ({"RAW_URI": "/caf\xc3\xa9"}, "/caf%C3%A9"),
            ({"PATH_INFO": "/caf\xc3\xa9/a b;c=d", "QUERY_STRING": "q=%20+1"}, "/caf%C3%A9/a%20b;c=d?q=%20+1"),
            ({"SCRIPT_NAME": "/shop", "PATH_INFO": "/a%b?c"}, "/shop/a%25b%3Fc"),
            ({"PATH_INFO": ""}, "/"),
            ({"PATH_INFO": "/a", "QUERY_STRING": "x=\r\nEvil: 1"}, "/a?x=%0D%0AEvil:%201"),
        ],
    )
    def test_wsgi(self, given: dict[str, str], target: str) -> None:
        assert raw_target(given) == target

    def test_asgi(self) -> None:
        scope = {"type": "http", "method": "GET", "path": "/a/b", "raw_path": b"/a%2Fb", "query_string": b"x=%20"}
        request = ASGIRequest({**scope, "headers": []}, None)  # type: ignore[arg-type]
        assert raw_target(request) == "/a%2Fb?x=%20"


class TestReceived:
    @pytest.mark.parametrize(
        ("given", "status", "kept"),
        [
            ([("Content-Length", "5"), ("Content-Length", "5")], 200, [("Content-Length", "5")]),
            ([("Content-Length", "5, 5")], 200, [("Content-Length", "5")]),
            ([("Content-Length", "0")], 204, []),
            ([("x-accel-redirect", "/etc/passwd"), ("X-Accel-Buffering", "no")], 200, []),
            ([("Connection", "X-A"), ("x-a", "1"), ("X-B", "2")], 200, [("X-B", "2")]),
            ([("Trailer", "X"), ("Upgrade", "h2c"), ("TE", "x"), ("Proxy-Authenticate", "x")], 200, []),
        ],
    )
    def test_what_passes(self, given: Headers, status: int, kept: Headers) -> None:
        assert received_headers(given, status) == kept


class TestDjango:
    def test_repeated_fields_reach_the_server_one_by_one(self) -> None:
        response = to_django(answer(("Set-Cookie", "a=1"), ("Link", "<x>"), ("Set-Cookie", "b=2"), ("Link", "<y>")))
        assert list(response.items()) == [
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
            ("Link", "<x>"),
            ("Link", "<y>"),
        ]
        assert response["link"] == "<x>, <y>"

    def test_no_content_type_is_made_up(self) -> None:
        assert "Content-Type" not in to_django(answer())

    def test_middleware_may_change_and_delete_repeated_fields(self) -> None:
        response = to_django(answer(("Vary", "Accept"), ("Vary", "Origin"), ("X-Old", "1"), ("X-Old", "2")))
        patch_vary_headers(response, ("Cookie",))
        del response["X-Old"]
        assert list(response.items()) == [("Vary", "Accept, Origin, Cookie")]

    def test_what_the_server_and_the_router_say_themselves_does_not_pass(self) -> None:
        given = (("Date", "x"), ("Server", "y"), ("X-Strangler-Side", "z"), ("ETag", "kept"))
        assert list(to_django(answer(*given)).items()) == [("ETag", "kept")]

    @pytest.mark.parametrize(("status", "body"), [(204, b""), (304, b""), (200, b"")])
    def test_no_length_is_made_up(self, status: int, body: bytes) -> None:
        response = to_django(answer(status=status, body=body))
        assert response.streaming
        assert (response.status_code, b"".join(response)) == (status, b"")  # type: ignore[arg-type]

    def test_a_complete_body_stays_one(self) -> None:
        response = to_django(answer(("Content-Length", "3"), status=404, body=b"abc"))
        assert isinstance(response, HttpResponse)
        assert (response.status_code, response.reason_phrase, response.content) == (404, "OK", b"abc")

    def test_a_stream_is_closed_with_the_response(self) -> None:
        closed: list[bool] = []

        class Body:
            def __iter__(self) -> Iterator[bytes]:
                return self

            def __next__(self) -> bytes:
                return b"x"

            def close(self) -> None:
                closed.append(True)

        stream = UpstreamResponse(status=200, reason="OK", headers=[], body=Body(), elapsed=0.0)
        to_django(stream).close()
        assert closed == [True]


def exchange(port: int, request: bytes) -> tuple[str, list[str], bytes]:
    """Send bytes to a server that closes afterwards; return status line, header lines and the rest."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(request)
        data = b""
        while part := sock.recv(65_536):
            data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    return lines[0], lines[1:], body


def script(line: Line) -> None:
    """Answer by what the path asks for."""
    while request := line.request():
        path = request.split(b" ")[1].split(b"?")[0].decode()
        line.send(ANSWERS[path])
        if path == "/broken":
            return


@pytest.fixture(scope="module")
def upstream() -> Iterator[RawServer]:
    """Run the upstream behind gunicorn."""
    with raw_server(script) as server:
        yield server


@pytest.fixture(scope="module")
def port(upstream: RawServer) -> Iterator[int]:
    """Run a gunicorn that forwards to the upstream; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    command = [sys.executable, "-m", "gunicorn", "tests.router.forwarding_site:application", "--threads", "2"]
    command += ["--bind", f"fd://{listener.fileno()}", "--log-level", "warning", "--graceful-timeout", "1"]
    forward_to = {"FORWARD_TO": f"http://127.0.0.1:{upstream.port}", "DJANGO_SETTINGS_MODULE": ""}
    process = subprocess.Popen(command, cwd=ROOT, pass_fds=[listener.fileno()], env={**os.environ, **forward_to})
    try:
        yield listener.getsockname()[1]
    finally:
        process.terminate()
        process.wait(10)
        listener.close()


class TestThroughGunicorn:
    """The bytes a client gets from gunicorn, Django and ``to_django``."""

    def get(self, port: int, path: str, *headers: str, method: str = "GET") -> tuple[str, list[str], bytes]:
        """Send one request, the connection closed after it."""
        lines = [f"{method} {path} HTTP/1.1", "Host: shop.test", "Connection: close", *headers]
        return exchange(port, "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")

    def test_cookies_of_the_service_and_of_the_monolith(self, port: int) -> None:
        status, lines, body = self.get(port, "/cookies", "X-Wants-Session: 1")
        cookies = [line for line in lines if line.startswith("Set-Cookie")]
        assert status == "HTTP/1.1 201 Made"
        assert cookies[:2] == [
            "Set-Cookie: a=1; Path=/; HttpOnly",
            "Set-Cookie: b=2; Expires=Wed, 01 Jan 2031 00:00:00 GMT",
        ]
        assert sorted(line[12:].split("=")[0] for line in cookies[2:]) == ["monolith", "sessionid"]
        assert [line for line in lines if line.startswith("Link")] == ["Link: <x>", "Link: <y>"]
        assert body == b"made"

    def test_one_date_and_one_server(self, port: int) -> None:
        _, lines, _ = self.get(port, "/cookies")
        names = [line.split(":")[0].lower() for line in lines]
        assert (names.count("date"), names.count("server")) == (1, 1)

    @pytest.mark.parametrize(
        ("method", "path", "length"),
        [("HEAD", "/head", "1234"), ("HEAD", "/unsized", None), ("GET", "/nothing", None), ("GET", "/same", None)],
    )
    def test_answers_without_a_body(self, port: int, method: str, path: str, length: str | None) -> None:
        _, lines, body = self.get(port, path, method=method)
        lengths = [line.split(": ")[1] for line in lines if line.lower().startswith("content-length")]
        assert lengths == ([length] if length else [])
        assert not [line for line in lines if line.lower().startswith("transfer-encoding")]
        assert body == b""

    def test_chunks_arrive_as_chunks(self, port: int) -> None:
        _, lines, body = self.get(port, "/chunks")
        assert "Transfer-Encoding: chunked" in lines
        assert body == b"5\r\nfirst\r\n3\r\nend\r\n0\r\n\r\n"

    def test_a_stream_that_breaks_off_does_not_look_complete(self, port: int) -> None:
        _, _, body = self.get(port, "/broken")
        assert body.startswith(b"5\r\nfirst\r\n")
        assert not body.endswith(b"0\r\n\r\n")

    def test_the_target_and_the_body_reach_the_upstream_untouched(self, port: int, upstream: RawServer) -> None:
        upstream.requests.clear()
        request = "POST /cookies?a=%2F&b=%e4&&c HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n"
        request += "X-Strangler-Identity: forged\r\nX_Strangler_Identity: forged\r\nExpect: 100-continue\r\n"
        request += "Transfer-Encoding: chunked\r\n\r\n4\r\n\x00\x01ab\r\n0\r\n\r\n"
        exchange(port, request.encode("latin-1"))
        head, _, body = upstream.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /cookies?a=%2F&b=%e4&&c HTTP/1.1\r\n")
        assert b"forged" not in head
        assert b"expect" not in head.lower()
        assert body == b"\x00\x01ab"


ANSWERS = {
    "/cookies": b"HTTP/1.1 201 Made\r\nDate: yesterday\r\nServer: upstream\r\nSet-Cookie: a=1; Path=/; HttpOnly\r\n"
    b"Link: <x>\r\nSet-Cookie: b=2; Expires=Wed, 01 Jan 2031 00:00:00 GMT\r\nLink: <y>\r\n"
    b"Content-Length: 4\r\n\r\nmade",
    "/head": b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
    "/unsized": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "/nothing": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/same": b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n',
    "/chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n3\r\nend\r\n0\r\n\r\n",
    "/broken": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
}
