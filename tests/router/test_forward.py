"""Forwarding against upstreams that do everything an upstream should not do."""

import io
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from router.forward import (
    SMALL_BODY,
    Ambiguous,
    BodyUnreadable,
    ForwardError,
    NotSent,
    OutboundRequest,
    Timeouts,
    Upstream,
    close_all,
    send,
)
from router.forwarding.pool import pool_for
from tests.router.raw_server import Line, answering, get, ok, once, raw_server


@pytest.fixture(autouse=True)
def no_idle_connections() -> Iterator[None]:
    """Begin and end without kept connections."""
    close_all()
    yield
    close_all()


def failure(upstream: Upstream, request: OutboundRequest) -> ForwardError:
    """Return what sending raises."""
    with pytest.raises(ForwardError) as raised:
        send(upstream, request)
    return raised.value


class TestAnswers:
    def test_small_body_is_read_whole(self) -> None:
        with raw_server(answering(ok(b'{"a": 1}', "Content-Type: application/json"))) as server:
            response = send(server.upstream(), get("/api/orders/"))
        assert (response.status, response.reason, response.body) == (200, "OK", b'{"a": 1}')
        assert response.header("content-type") == "application/json"

    def test_target_and_headers_go_out_byte_for_byte(self) -> None:
        target = "/a%2Fb/%7euser//x;y=1/?q=%20+%E4&&a=b=c"
        headers = [("Host", "shop.test"), ("Accept", "a"), ("Accept", "b"), ("Cookie", "x=1; y=\xe4")]
        with raw_server(answering(ok())) as server:
            send(server.upstream(), get(target, headers=headers))
        assert server.requests == [
            f"GET {target} HTTP/1.1\r\nHost: shop.test\r\nAccept: a\r\nAccept: b\r\nCookie: x=1; y=\xe4\r\n\r\n".encode(
                "latin-1"
            )
        ]

    def test_prefix_of_the_base_url_comes_first(self) -> None:
        with raw_server(answering(ok())) as server:
            upstream = Upstream(service="orders", store="own", base_url=f"http://127.0.0.1:{server.port}/v2/")
            send(upstream, get("/api/"))
        assert server.requests[0].startswith(b"GET /v2/api/ HTTP/1.1\r\n")

    def test_repeated_headers_and_cookies_are_kept_in_order(self) -> None:
        data = ok(b"", "Set-Cookie: a=1; Path=/", "X-N: 1", "Set-Cookie: b=2; HttpOnly", "X-N: 2")
        with raw_server(answering(data)) as server:
            response = send(server.upstream(), get())
        assert [field for field in response.headers if field[0] != "Content-Length"] == [
            ("Set-Cookie", "a=1; Path=/"),
            ("X-N", "1"),
            ("Set-Cookie", "b=2; HttpOnly"),
            ("X-N", "2"),
        ]

    def test_hop_by_hop_headers_of_the_answer_are_dropped(self) -> None:
        data = ok(
            b"", "Connection: keep-alive, X-Secret", "Keep-Alive: timeout=5", "X-Secret: 1", "X-Accel-Redirect: /e"
        )
        with raw_server(answering(data)) as server:
            response = send(server.upstream(), get())
        assert response.headers == [("Content-Length", "0")]

    def test_compressed_bodies_are_not_touched(self) -> None:
        data = b"\x1f\x8b\x08\x00 not really gzip"
        with raw_server(answering(ok(data, "Content-Encoding: gzip"))) as server:
            response = send(server.upstream(), get())
        assert response.body == data
        assert response.header("Content-Encoding") == "gzip"

    def test_redirects_are_not_followed(self) -> None:
        data = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
        with raw_server(answering(data)) as server:
            response = send(server.upstream(), get())
        assert (response.status, response.header("Location")) == (302, "/elsewhere")
        assert len(server.requests) == 1

    def test_proxies_of_the_environment_are_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        with raw_server(answering(ok())) as server:
            assert send(server.upstream(), get()).status == 200

    @pytest.mark.parametrize(
        ("method", "data"),
        [
            ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"),
            ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
            ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 55\r\nETag: x\r\n\r\n"),
        ],
    )
    def test_answers_without_a_body_leave_the_connection_usable(self, method: str, data: bytes) -> None:
        with raw_server(answering(data)) as server:
            first = send(server.upstream(), get(method=method))
            second = send(server.upstream(), get(method=method))
        assert (first.body, second.body) == (b"", b"")
        assert server.connections == 1

    def test_head_keeps_the_length_that_get_would_have(self) -> None:
        with raw_server(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")) as server:
            assert send(server.upstream(), get(method="HEAD")).header("Content-Length") == "1234"

    def test_interim_answers_are_skipped(self) -> None:
        interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        with raw_server(answering(interim + ok(b"done"))) as server:
            assert send(server.upstream(), get()).body == b"done"

    def test_empty_reason_and_folded_header(self) -> None:
        data = b"HTTP/1.1 200 \r\nX-Long: one\r\n  two\r\nContent-Length: 0\r\n\r\n"
        with raw_server(answering(data)) as server:
            response = send(server.upstream(), get())
        assert (response.reason, response.header("X-Long")) == ("", "one two")


class TestStreaming:
    def test_large_body_streams(self) -> None:
        body = os.urandom(SMALL_BODY + 1)
        with raw_server(answering(ok(body))) as server:
            response = send(server.upstream(), get())
            assert not isinstance(response.body, bytes)
            assert b"".join(response.body) == body
            assert len(pool_for(server.upstream())) == 1

    def test_chunks_are_handed_on_before_the_body_is_complete(self) -> None:
        go_on = threading.Event()

        def script(line: Line) -> None:
            line.request()
            line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nfirst\r\n")
            go_on.wait(5)
            line.send(b"3\r\nend\r\n0\r\nX-Trailer: 1\r\n\r\n").wait_for_test()

        with raw_server(script) as server:
            response = send(server.upstream(), get())
            assert not isinstance(response.body, bytes)
            assert next(response.body) == b"first"
            go_on.set()
            assert b"".join(response.body) == b"end"
            assert len(pool_for(server.upstream())) == 1

    def test_body_until_the_end_of_the_connection(self) -> None:
        with raw_server(once(b"HTTP/1.0 200 OK\r\n\r\nall there is")) as server:
            response = send(server.upstream(), get())
            assert b"".join(response.body) == b"all there is"  # type: ignore[arg-type]
            assert len(pool_for(server.upstream())) == 0

    def test_a_body_given_up_is_not_kept(self) -> None:
        with raw_server(answering(ok(b"x" * (SMALL_BODY + 1)))) as server:
            response = send(server.upstream(), get())
            response.close()
            assert len(pool_for(server.upstream())) == 0
            assert server.closed.acquire(timeout=20)

    @pytest.mark.parametrize(
        ("data", "cause"),
        [
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfir", "truncated"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n", "reset"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nfirst\r\n", "protocol"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nfirst\r\n", "protocol"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nfirst\r\n", "protocol"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\nshort", "truncated"),
        ],
    )
    def test_a_stream_that_breaks_off_says_so(self, data: bytes, cause: str) -> None:
        with raw_server(once(data)) as server:
            response = send(server.upstream(), get())
            with pytest.raises(Ambiguous) as raised:
                b"".join(response.body)  # type: ignore[arg-type]
        assert raised.value.cause == cause

    def test_a_trickling_stream_meets_the_total_deadline(self) -> None:
        def script(line: Line) -> None:
            line.request()
            line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not line.server.over.wait(0.02):
                line.send(b"1\r\nx\r\n")

        with raw_server(script) as server:
            response = send(server.upstream(total=0.3), get())
            started = time.monotonic()
            with pytest.raises(Ambiguous) as raised:
                b"".join(response.body)  # type: ignore[arg-type]
        assert raised.value.cause == "total_deadline"
        assert time.monotonic() - started < 10


class TestDeadlines:
    def test_slow_first_byte(self) -> None:
        def script(line: Line) -> None:
            line.request()
            line.wait_for_test()

        with raw_server(script) as server:
            started = time.monotonic()
            error = failure(server.upstream(first_byte=0.1), get())
        assert (type(error), error.cause) == (Ambiguous, "first_byte_deadline")
        assert time.monotonic() - started < 10

    @pytest.mark.parametrize("before", [b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"])
    def test_trickling_meets_the_total_deadline(self, before: bytes) -> None:
        def script(line: Line) -> None:
            line.request()
            for byte in before:
                line.send(bytes([byte]))
            line.wait_for_test()

        with raw_server(script) as server:
            error = failure(server.upstream(first_byte=0.2, total=0.3), get())
        assert (type(error), error.cause) == (Ambiguous, "total_deadline")

    def test_the_callers_deadline_counts_if_it_is_earlier(self) -> None:
        def script(line: Line) -> None:
            line.request()
            line.wait_for_test()

        with raw_server(script) as server:
            error = failure(server.upstream(), get(deadline=time.monotonic() + 0.1))
        assert (type(error), error.cause) == (Ambiguous, "total_deadline")

    def test_a_deadline_that_has_passed_sends_nothing(self) -> None:
        with raw_server(answering(ok())) as server:
            error = failure(server.upstream(), get(deadline=time.monotonic() - 1))
            assert (type(error), error.cause) == (NotSent, "connect_timeout")
            send(server.upstream(), get())
            error = failure(server.upstream(), get(deadline=time.monotonic() - 1))
        assert type(error) is NotSent
        assert len(server.requests) == 1

    def test_a_peer_that_reads_nothing(self) -> None:
        with raw_server(lambda line: line.wait_for_test()) as server:
            error = failure(server.upstream(total=0.3), get(method="POST", body=b"x" * 20_000_000))
        assert (type(error), error.cause) == (Ambiguous, "total_deadline")


class TestNotSent:
    def test_refused(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        error = failure(Upstream(service="orders", store="shared", base_url=f"http://127.0.0.1:{port}"), get())
        assert (type(error), error.cause) == (NotSent, "connect_refused")
        assert f"orders.shared at http://127.0.0.1:{port}" in str(error)

    def test_unknown_host(self) -> None:
        error = failure(Upstream(service="orders", store="shared", base_url="http://nowhere.invalid"), get())
        assert (type(error), error.cause) == (NotSent, "connect")

    def test_connect_timeout(self) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
            port = listener.getsockname()[1]
            waiting = [socket.socket() for _ in range(4)]
            try:
                for sock in waiting:
                    sock.setblocking(False)
                    sock.connect_ex(("127.0.0.1", port))
                upstream = Upstream(
                    service="orders",
                    store="shared",
                    base_url=f"http://127.0.0.1:{port}",
                    timeouts=Timeouts(connect=0.2, total=1.0),
                )
                error = failure(upstream, get())
            finally:
                for sock in waiting:
                    sock.close()
        assert (type(error), error.cause) == (NotSent, "connect_timeout")

    def test_tls_handshake_with_a_server_that_speaks_none(self) -> None:
        with raw_server(lambda line: line.send(b"HTTP/1.1 400 Bad Request\r\n\r\n") and None) as server:
            upstream = Upstream(service="orders", store="shared", base_url=f"https://127.0.0.1:{server.port}")
            error = failure(upstream, get())
        assert (type(error), error.cause) == (NotSent, "connect")


class TestAmbiguous:
    @pytest.mark.parametrize(
        ("data", "cause"),
        [
            (b"", "reset"),
            (b"HTTP/1.1 200 OK\r\nContent-Le", "truncated"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "truncated"),
            (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "protocol"),
            (b"HTTP/1.1 2000 OK\r\n\r\n", "protocol"),
            (b"HTTP/1.1 999 Odd\r\n\r\n", "protocol"),
            (b"HTTP/2 200 OK\r\n\r\n", "protocol"),
            (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "protocol"),
            (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "protocol"),
            (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "protocol"),
            (b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n", "protocol"),
            (b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n", "protocol"),
            (b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", "protocol"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "protocol"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na", "protocol"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\na", "protocol"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\na", "protocol"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "protocol"),
            (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", "protocol"),
        ],
    )
    def test_answers_that_are_none(self, data: bytes, cause: str) -> None:
        with raw_server(once(data)) as server:
            error = failure(server.upstream(), get())
        assert (type(error), error.cause) == (Ambiguous, cause)

    def test_reset_after_the_request(self) -> None:
        def script(line: Line) -> None:
            line.request()
            line.reset()

        with raw_server(script) as server:
            error = failure(server.upstream(), get(method="POST", body=b"{}"))
        assert (type(error), error.cause) == (Ambiguous, "reset")
        assert server.connections == 1

    def test_large_but_legal_headers_pass(self) -> None:
        headers = [f"X-Big-{number}: {'v' * 500}" for number in range(110)]
        with raw_server(answering(ok(b"fine", *headers))) as server:
            assert len(send(server.upstream(), get()).headers) == 111


class TestRequestBodies:
    def test_bytes(self) -> None:
        with raw_server(answering(ok())) as server:
            send(server.upstream(), get(method="POST", body=b'{"x": 1}'))
        assert server.requests[0].endswith(b'Content-Length: 8\r\n\r\n{"x": 1}')

    @pytest.mark.parametrize(("method", "framed"), [("POST", True), ("PATCH", True), ("GET", False), ("DELETE", False)])
    def test_an_empty_body_has_a_length_where_one_is_expected(self, method: str, framed: bool) -> None:
        with raw_server(answering(ok())) as server:
            send(server.upstream(), get(method=method))
        assert (b"Content-Length: 0" in server.requests[0]) is framed

    def test_file_with_known_length(self) -> None:
        body = os.urandom(300_000)
        with raw_server(answering(ok())) as server:
            send(
                server.upstream(), get(method="PUT", body=io.BytesIO(body + b"next request"), content_length=len(body))
            )
        assert server.requests[0].endswith(b"Content-Length: 300000\r\n\r\n" + body)

    def test_file_of_unknown_length_goes_in_chunks(self) -> None:
        body = os.urandom(150_000)
        with raw_server(answering(ok())) as server:
            send(server.upstream(), get(method="PUT", body=io.BytesIO(body)))
            assert len(pool_for(server.upstream())) == 1
        assert server.requests[0].endswith(b"Transfer-Encoding: chunked\r\n\r\n" + body)

    def test_a_client_that_breaks_off_is_not_the_upstreams_fault(self) -> None:
        with raw_server(answering(ok())) as server:
            error = failure(server.upstream(), get(method="PUT", body=io.BytesIO(b"short"), content_length=100))
        assert (type(error), error.cause) == (BodyUnreadable, "client")

    def test_a_client_that_dawdles_past_the_deadline_is_not_the_upstreams_fault(self) -> None:
        """Or a few slow uploads would open the breaker for everybody."""
        deadline = time.monotonic() + 0.2

        class Dawdling(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                while self.tell() and time.monotonic() <= deadline:
                    pass
                return super().read(50)

        with raw_server(answering(ok())) as server:
            request = get(method="PUT", body=Dawdling(b"x" * 100), content_length=100, deadline=deadline)
            error = failure(server.upstream(), request)
        assert (type(error), error.cause) == (BodyUnreadable, "client")

    def test_a_client_that_is_gone_at_once_reaches_nobody(self) -> None:
        class Gone:
            def read(self, size: int, /) -> bytes:
                raise OSError("client went away")

        with raw_server(answering(ok())) as server:
            error = failure(server.upstream(), get(method="PUT", body=Gone(), content_length=100))
            assert server.connections == 0
        assert type(error) is BodyUnreadable

    def test_an_early_answer_is_heard_though_the_body_was_not_wanted(self) -> None:
        def script(line: Line) -> None:
            while line.read.readline() not in {b"\r\n", b""}:
                pass
            line.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
            line.sock.shutdown(socket.SHUT_WR)
            while line.sock.recv(65_536):
                pass

        with raw_server(script) as server:
            response = send(server.upstream(), get(method="POST", body=b"x" * 3_000_000))
        assert (response.status, response.body) == (413, b"no")

    @pytest.mark.parametrize(
        "changes",
        [
            {"raw_path_qs": "/a b"},
            {"raw_path_qs": "/a\r\nX: 1"},
            {"method": "GET /x"},
            {"headers": [("X", "1\r\nY: 2")]},
            {"headers": [("X: 1\r\nY", "2")]},
            {"headers": [("X Y", "2")]},
            {"headers": [("X", "a\x00b")]},
            {"headers": [("X", "\u20ac")]},
        ],
    )
    def test_nothing_can_be_smuggled_into_the_head(self, changes: dict[str, object]) -> None:
        with raw_server(answering(ok())) as server:
            with pytest.raises(ValueError, match=r"."):
                send(server.upstream(), get(**changes))
            assert server.connections == 0


class TestPool:
    def test_connections_are_used_again(self) -> None:
        with raw_server(answering(ok())) as server:
            for _ in range(5):
                send(server.upstream(), get())
        assert (server.connections, len(server.requests)) == (1, 5)

    def test_a_connection_closed_while_idle_is_replaced_silently(self) -> None:
        with raw_server(once(ok()), answering(ok(b"again"))) as server:
            send(server.upstream(), get())
            assert server.closed.acquire(timeout=20)
            assert send(server.upstream(), get(method="POST", body=b"{}")).body == b"again"
        assert (server.connections, len(server.requests)) == (2, 2)

    def test_a_connection_that_speaks_unasked_is_dropped(self) -> None:
        with raw_server(answering(ok(b"one") + ok(b"injected")), answering(ok(b"two"))) as server:
            assert send(server.upstream(), get()).body == b"one"
            assert send(server.upstream(), get()).body == b"two"

    @pytest.mark.parametrize("header", ["Connection: close", "connection: Close, X-A"])
    def test_a_connection_that_is_to_be_closed_is_not_kept(self, header: str) -> None:
        with raw_server(answering(ok(b"", header))) as server:
            send(server.upstream(), get())
            assert len(pool_for(server.upstream())) == 0

    def test_old_connections_are_not_used(self) -> None:
        with raw_server(answering(ok())) as server:
            base = server.upstream()
            upstream = Upstream(service="orders", store="shared", base_url=base.base_url, idle_seconds=0.0)
            send(upstream, get())
            send(upstream, get())
        assert server.connections == 2

    def test_idle_connections_are_bounded(self) -> None:
        together = threading.Barrier(40)

        def script(line: Line) -> None:
            line.request()
            together.wait(5)
            line.send(ok()).wait_for_test()

        with raw_server(script) as server:
            upstream = server.upstream()
            threads = [threading.Thread(target=send, args=(upstream, get())) for _ in range(40)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)
            assert server.connections == 40
            assert len(pool_for(upstream)) == 32

    def test_threads_share_no_connection_at_a_time(self) -> None:
        def script(line: Line) -> None:
            while request := line.request():
                line.send(ok(request.split(b" ")[1]))

        wrong: list[object] = []

        def work(worker: int, upstream: Upstream) -> None:
            for number in range(50):
                path = f"/{worker}/{number}"
                body = send(upstream, get(path)).body
                if body != path.encode():
                    wrong.append((path, body))

        with raw_server(script) as server:
            threads = [threading.Thread(target=work, args=(worker, server.upstream())) for worker in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
            assert server.connections <= 8
        assert (wrong, len(server.requests)) == ([], 400)

    def test_a_forked_child_opens_connections_of_its_own(self) -> None:
        with raw_server(answering(ok())) as server:
            upstream = server.upstream()
            send(upstream, get())
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    status = 0 if len(pool_for(upstream)) == 0 and send(upstream, get("/child")).status == 200 else 2
                finally:
                    os._exit(status)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            assert len(pool_for(upstream)) == 1
            send(upstream, get("/parent"))
        assert server.connections == 2
