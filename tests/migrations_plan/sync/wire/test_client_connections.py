"""Connections to a peer are kept and not shared, and carry what they have to."""

import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest

from migrations_plan.sync.errors import PeerRefused, PeerUnavailable
from migrations_plan.sync.messages import Document, Outcome
from migrations_plan.sync.wire.client import RemoteSide
from tests.migrations_plan.sync.wire.calling import called, document, ownership
from tests.migrations_plan.sync.wire.memory import MemorySide
from tests.migrations_plan.sync.wire.serving import AUDIENCE, SECRET, Asked, peer_at, reply, served
from tests.processes import ROOT, free_port


def test_a_connection_is_kept_from_call_to_call() -> None:
    with served(MemorySide()) as (peer, connections):
        for n in range(5):
            remote = RemoteSide(peer, "extracted")
            remote.apply("things", (document(n, size=5_000),))
            remote.ownership("things")
            with pytest.raises(PeerRefused):
                remote.ownership("unknown")
    assert len(connections) == 1


def test_threads_do_not_share_a_connection(wire_settings: Any) -> None:
    wire_settings(MAX_APPLIES=4)
    barrier = threading.Barrier(4)

    def talk(number: int) -> bool:
        barrier.wait(10)
        remote = RemoteSide(peer, "extracted")
        return all(
            remote.apply("things", (document(number * 1000 + n, size=2_000),))[0].key == str(number * 1000 + n)
            for n in range(20)
        )

    with served(MemorySide()) as (peer, connections), ThreadPoolExecutor(4) as pool:
        assert all(pool.map(talk, range(4)))
    assert len(connections) == 4


FORKS = """
import os, sys
from django.conf import settings
settings.configure(STRANGLER_SYNC={})
from migrations_plan.sync.conf import Peer
from migrations_plan.sync.wire import sessions
from migrations_plan.sync.wire import bodies
from migrations_plan.sync.wire.client import RemoteSide

remote = RemoteSide(Peer(url=sys.argv[1], secret=sys.argv[2], audience=sys.argv[3]), "extracted")
assert len(remote.ownership("things")) == 100
mine = sessions.session()
child = os.fork()
if not child:
    fresh = sessions.session() is not mine and len(remote.ownership("things")) == 100
    os._exit(0 if fresh else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert sessions.session() is mine
assert len(remote.ownership("things")) == 100
"""


def test_a_forked_process_does_not_share_its_parent_s_connection() -> None:
    with served(MemorySide()) as (peer, connections):
        arguments = [sys.executable, "-c", FORKS, peer.url, peer.secret, peer.audience]
        subprocess.run(arguments, cwd=ROOT, check=True, timeout=60)
    assert len(connections) == 2


def test_a_connection_that_the_peer_has_closed_is_made_anew() -> None:
    port = free_port()
    listener = socket.create_server(("127.0.0.1", port))
    closed = threading.Semaphore(0)
    done = threading.Thread(target=_answer_and_close, args=(listener, 3, closed), daemon=True)
    done.start()
    remote = RemoteSide(peer_at(port), "extracted")
    for _ in range(3):
        assert ownership(remote) == ()
        assert closed.acquire(timeout=10)  # what is sent while it is being closed is lost, and says so
    done.join(10)
    listener.close()


def _answer_and_close(listener: socket.socket, times: int, closed: threading.Semaphore) -> None:
    """Answer one request a connection, promise to keep it, and close it."""
    for _ in range(times):
        connection, _ = listener.accept()
        with connection:
            while b"{}" not in connection.recv(65_536):
                pass
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"buckets": []}')
        closed.release()


def test_neither_proxies_nor_cookies_of_the_environment_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    cookies: list[str | None] = []

    def answer(asked: Asked) -> None:
        cookies.append(asked.headers["Cookie"])
        reply(200, b'{"buckets": []}', Set_Cookie="session=theirs; Path=/")(asked)

    def twice(remote: RemoteSide) -> None:
        ownership(remote)
        ownership(remote)

    called(answer, twice)
    assert cookies == [None, None]


def test_a_call_carries_a_token_for_it_alone() -> None:
    seen: list[dict[str, Any]] = []

    def answer(asked: Asked) -> None:
        token = asked.headers["Authorization"].removeprefix("Bearer ")
        seen.append(jwt.decode(token, SECRET, algorithms=["HS256"], audience=AUDIENCE))
        reply(200, b'{"buckets": []}')(asked)

    called(answer, ownership)
    assert [(one["iss"], one["agg"], one["vrb"]) for one in seen] == [("strangler-sync", "things", "ownership")]


def test_a_long_request_is_compressed() -> None:
    sent: list[tuple[str | None, int]] = []

    def answer(asked: Asked) -> None:
        sent.append((asked.headers["Content-Encoding"], len(asked.body)))
        reply(500, b"")(asked)

    for size in (1, 50_000):
        with pytest.raises(PeerUnavailable):
            called(answer, lambda remote, size=size: remote.apply("things", (document(1, size=size),)))
    assert sent[0][0] is None
    assert (sent[1][0], sent[1][1] < 2_000) == ("gzip", True)


def test_a_busy_peer_is_left_alone_for_as_long_as_it_says(wire_settings: Any) -> None:
    wire_settings(MAX_APPLIES=1)
    inside, go_on = threading.Event(), threading.Event()

    class Slow(MemorySide):
        def apply(self, aggregate: str, documents: tuple[Document, ...]) -> Any:
            inside.set()
            assert go_on.wait(20)
            return super().apply(aggregate, documents)

    with served(Slow()) as (peer, _), ThreadPoolExecutor(1) as pool:
        remote = RemoteSide(peer, "extracted")
        first = pool.submit(remote.apply, "things", (document(1),))
        assert inside.wait(20)
        with pytest.raises(PeerUnavailable, match="429: 1 requests are being applied") as error:
            remote.apply("things", (document(2),))
        go_on.set()
        assert first.result()[0].outcome is Outcome.APPLIED
    assert error.value.retry_after == 1.0
