"""Requests as servers with an event loop hand them over, next to the same ones over WSGI."""

import io
import tempfile
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest

from router.exchange import Exchange
from router.forward import outbound_headers, raw_target
from router.forwarding import threads
from router.idempotency.claims import fingerprint_of
from router.registry import Match
from router.routes import Route
from router.snapshot import Snapshot

ROUTE = Route(service="orders", name="upload", methods=("POST",), pattern="/upload/")


def asgi(path: str = "/", query: bytes = b"", body: bytes = b"", **scope: Any) -> ASGIRequest:
    kept: Any = tempfile.SpooledTemporaryFile(max_size=1_000)  # noqa: SIM115  # the request closes it
    kept.write(body)
    kept.seek(0)
    given = {"type": "http", "method": "POST", "path": path, "query_string": query, "headers": [], **scope}
    return ASGIRequest(given, kept)


def wsgi(path: str, query: bytes) -> WSGIRequest:
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path.encode().decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "wsgi.input": io.BytesIO(),
    }
    return WSGIRequest(environ)


@pytest.mark.parametrize(
    ("path", "query"),
    [("/a/", b""), ("/a/", b"q=1&q=%20+"), ("/käse/", "q=käse".encode()), ("/a/", "q=\u20ac".encode())],
)
def test_a_key_means_the_same_request_over_either(path: str, query: bytes) -> None:
    """The monolith may run on an event loop and its service not: both take the same fingerprint."""
    assert fingerprint_of(asgi(path, query)) == fingerprint_of(wsgi(path, query))


@pytest.mark.parametrize(
    ("scope", "target"),
    [
        ({"raw_path": b"/a%2Fb/%7e", "path": "/a/b/~"}, "/a%2Fb/%7e?x=1"),
        ({"raw_path": b"/a%2Fb/?x=1", "path": "/a/b/"}, "/a%2Fb/?x=1"),  # some servers put the query into it
        ({"raw_path": b"http://shop.test/a%2Fb/", "path": "/a/b/"}, "/a%2Fb/?x=1"),  # as a proxy may ask
        ({"path": "/käse/"}, "/k%C3%A4se/?x=1"),
        ({"raw_path": None, "path": "/a b/"}, "/a%20b/?x=1"),
    ],
)
def test_the_target_as_the_client_spelled_it(scope: dict[str, Any], target: str) -> None:
    assert raw_target(asgi(query=b"x=1", **scope)) == target


def test_cookies_of_http_2_become_one_field() -> None:
    headers = [(b"cookie", b"a=1"), (b"accept", b"x"), (b"accept", b"y"), (b"cookie", b"b=2")]
    fields = outbound_headers(asgi(headers=headers))
    assert [field for field in fields if field[0] == "Cookie"] == [("Cookie", "a=1; b=2")]
    assert [field for field in fields if field[0] == "Accept"] == [("Accept", "x"), ("Accept", "y")]


@pytest.mark.parametrize(("size", "kept"), [(10, True), (5_000, False)])
def test_a_body_sent_in_chunks_is_measured(settings: Any, size: int, kept: bool) -> None:
    """It announces no length, and must not be taken into memory for that."""
    settings.STRANGLER = {**settings.STRANGLER, "MAX_BODY_BYTES": 1_000}
    request = asgi(body=b"x" * size)
    exchange = Exchange(request=request, match=Match(ROUTE, {}), snapshot=Snapshot())
    assert (exchange.content_length, exchange.body_is_kept) == (size, kept)
    assert request.read() == b"x" * size


def test_each_service_has_threads_of_its_own() -> None:
    assert threads._pool_for("orders") is threads._pool_for("orders")
    assert threads._pool_for("orders") is not threads._pool_for("payments")
