"""The client against real servers: what it asks arrives, what it gets is bounded, and every failure has a name."""

import gzip
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import jwt
import msgspec
import pytest

from migrations_plan.sync.conf import Peer
from migrations_plan.sync.errors import PeerRefused, PeerUnavailable, SyncError
from migrations_plan.sync.messages import Again, Boundary, Document, Held, Outcome, Sent, State
from migrations_plan.sync.wire.client import RemoteSide
from migrations_plan.sync.wire.forms import Change, Standing
from tests.migrations_plan.sync.wire.memory import MemorySide
from tests.migrations_plan.sync.wire.serving import AUDIENCE, SECRET, Asked, Canned, canned, peer_at, reply, served
from tests.processes import ROOT, free_port

OWNED = (State.OWNER, 1)


def document(key: int, *, gen: int = 1, size: int = 1, **changed: Any) -> Document:
    """Return a document of about a size."""
    given = {"bucket": 3, "epoch": 1, "version": 1, "data": {"name": "x" * size, "amount": 1}, **changed}
    return Document(key=str(key), gen=gen, **given)


def outcomes(results: Any) -> list[tuple[str, str]]:
    """Return keys and outcomes."""
    return [(one.key, str(one.outcome)) for one in results]


def called(answer: Canned, call: Callable[[RemoteSide], Any], afterwards: Callable[[], None] = lambda: None) -> Any:
    """Call a peer that gives one answer to everything."""
    with canned(answer) as peer:
        try:
            return call(RemoteSide(peer, "extracted"))
        finally:
            afterwards()


def ownership(remote: RemoteSide) -> Any:
    """Ask who the side is."""
    return remote.ownership("things")


# --- it is the side behind it -----------------------------------------------------------------------------------
def test_what_is_applied_arrives(side: MemorySide, remote: RemoteSide) -> None:
    documents = (document(1), document(2, size=5_000), document(3, data=None))
    assert outcomes(remote.apply("things", documents)) == [("1", "applied"), ("2", "applied"), ("3", "applied")]
    assert side.rows == {"1": documents[0].data, "2": documents[1].data}
    assert outcomes(remote.apply("things", documents)) == [("1", "skipped"), ("2", "skipped"), ("3", "skipped")]


def test_nothing_is_asked_for_no_documents() -> None:
    nobody = RemoteSide(peer_at(free_port()), "extracted")
    assert nobody.apply("things", ()) == ()


def test_changes_are_those_of_the_side(side: MemorySide, remote: RemoteSide) -> None:
    remote.apply("things", (document(1), document(2)))
    side.owns[3] = OWNED
    assert remote.repair("things", (Again(key="1", gen=4, bucket=3), Again(key="2", gen=0, bucket=3))) == 2
    assert remote.changes("things", 10) == side.changes("things", 10)
    assert [one.gen for one in remote.changes("things", 10).documents] == [5, 1]
    remote.ack("things", (Sent(key="1", gen=5),), (Held(key="2", gen=1, seconds=9.0, reason="later"),))
    assert (remote.changes("things", 10).documents, remote.changes("things", 10).waiting) == ((), 1)


def test_digests_are_those_of_the_side(side: MemorySide, remote: RemoteSide) -> None:
    remote.apply("things", tuple(document(n) for n in range(1, 9)))
    for boundary, detail, keys in (
        (Boundary(), False, ()),
        (Boundary(after="2", until="5"), True, ()),
        (Boundary(), True, ("3", "99")),
    ):
        assert remote.digest("things", boundary, detail=detail, keys=keys) == side.digest(
            "things", boundary, detail=detail, keys=keys
        )
    assert remote.boundaries("things", 3) == side.boundaries("things", 3)


def test_ownership_is_told_and_changed(side: MemorySide, remote: RemoteSide) -> None:
    assert remote.ownership("things") == side.ownership("things")
    change = Change(
        bucket=7, old=Standing(state=State.REPLICA, epoch=1), new=Standing(state=State.OWNER, epoch=2), settle=True
    )
    assert (remote.change("things", change), remote.change("things", change)) == (True, False)
    assert side.owns[7] == (State.OWNER, 2)


def test_the_name_of_an_aggregate_may_hold_anything(remote: RemoteSide) -> None:
    for name in ("no such", "größer", "a?b#c%2F"):
        with pytest.raises(PeerRefused, match=r"404.*Known: things"):
            remote.ownership(name)


# --- batches ----------------------------------------------------------------------------------------------------
class Counting(MemorySide):
    """Counts the documents of each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def apply(self, aggregate: str, documents: tuple[Document, ...]) -> Any:
        self.batches.append(len(documents))
        return super().apply(aggregate, documents)


@pytest.fixture
def counting() -> Iterator[tuple[Counting, RemoteSide]]:
    """Return a side that counts, and the same behind HTTP."""
    side = Counting()
    with served(side) as (peer, _):
        yield side, RemoteSide(peer, "extracted")


def test_many_documents_are_sent_in_batches(wire_settings: Any, counting: tuple[Counting, RemoteSide]) -> None:
    wire_settings(BATCH_BYTES=2_000)
    side, remote = counting
    documents = tuple(document(n, size=400) for n in range(10))
    assert outcomes(remote.apply("things", documents)) == [(str(n), "applied") for n in range(10)]
    assert side.batches == [4, 4, 2]


def test_a_document_above_the_size_of_a_batch_goes_alone(
    wire_settings: Any, counting: tuple[Counting, RemoteSide]
) -> None:
    wire_settings(BATCH_BYTES=2_000)
    side, remote = counting
    documents = (document(1), document(2, size=9_000), document(3), document(4))
    assert outcomes(remote.apply("things", documents)) == [(str(n), "applied") for n in range(1, 5)]
    assert side.batches == [1, 1, 2]


def test_a_document_that_no_body_can_hold_is_parked_and_holds_up_nobody(
    wire_settings: Any, counting: tuple[Counting, RemoteSide]
) -> None:
    wire_settings(MAX_BODY_BYTES=4_000)
    side, remote = counting
    results = remote.apply("things", (document(1), document(2, size=9_000, gen=6), document(3)))
    assert outcomes(results) == [("1", "applied"), ("2", "parked"), ("3", "applied")]
    assert (results[1].gen, "a body may have 4000" in results[1].reason) == (6, True)
    assert side.batches == [2]


def test_a_peer_that_takes_less_gets_halves_and_what_it_never_takes_is_parked() -> None:
    batches: list[str] = []

    def answer(asked: Asked) -> None:
        sent = msgspec.json.decode(asked.body)["documents"]
        batches.append("".join(one["key"] for one in sent))
        if any(len(one["data"]["name"]) > 50 for one in sent) or len(sent) > 2:
            reply(413, b'{"code": "too_large", "detail": "More than we take."}')(asked)
        else:
            results = [{"key": one["key"], "gen": one["gen"], "outcome": "applied"} for one in sent]
            reply(200, msgspec.json.encode({"results": results}))(asked)

    documents = tuple(document(n, size=60 if n == 5 else 1) for n in range(8))
    results = called(answer, lambda remote: remote.apply("things", documents))
    assert outcomes(results) == [(str(n), "parked" if n == 5 else "applied") for n in range(8)]
    assert "More than we take. Lower BATCH_BYTES" in results[5].reason
    assert batches == ["01234567", "0123", "01", "23", "4567", "45", "4", "5", "67"]


@pytest.mark.parametrize(
    "results",
    [
        [],
        [{"key": "1", "gen": 1, "outcome": "applied"}],
        [{"key": "2", "gen": 1, "outcome": "applied"}, {"key": "1", "gen": 1, "outcome": "applied"}],
        [{"key": "1", "gen": 1, "outcome": "applied"}, {"key": "2", "gen": 2, "outcome": "applied"}],
    ],
    ids=["none", "too few", "another order", "another version"],
)
def test_results_that_are_not_those_of_the_documents_are_refused(results: list[Any]) -> None:
    answer = reply(200, msgspec.json.encode({"results": results}))
    with pytest.raises(PeerRefused, match="one result for each"):
        called(answer, lambda remote: remote.apply("things", (document(1), document(2))))


# --- what can go wrong ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_peer_that_cannot_now_is_unavailable(status: int) -> None:
    answer = reply(status, b'{"code": "busy", "detail": "In a moment."}', Retry_After="7")
    with pytest.raises(PeerUnavailable, match=f"{status}: In a moment.") as error:
        called(answer, ownership)
    assert error.value.retry_after == 7.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ({}, (1.0, 1.0)),
        ({"Retry_After": "0"}, (0.0, 0.0)),
        ({"Retry_After": "soon"}, (1.0, 1.0)),
        ({"Retry_After": "-3"}, (1.0, 1.0)),
        ({"Retry_After": "86400"}, (300.0, 300.0)),
        ({"Retry_After": format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)}, (0.0, 0.0)),
        ({"Retry_After": format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)}, (300.0, 300.0)),
        ({"Retry_After": "Fri, 27 Nov 2026 02:05:15"}, (1.0, 1.0)),
    ],
)
def test_when_to_come_back_is_read_in_every_form(header: dict[str, str], seconds: tuple[float, float]) -> None:
    with pytest.raises(PeerUnavailable) as error:
        called(reply(503, b"<html>", **header), ownership)
    assert seconds[0] <= error.value.retry_after <= seconds[1]


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "same version of the protocol"),
        (401, "SECRET and AUDIENCE are the same"),
        (403, "in front of the service"),
        (404, "URL of the peer"),
        (405, "something else answers there"),
        (409, ""),
        (411, ""),
        (413, "BATCH_BYTES"),
        (415, ""),
    ],
)
def test_a_peer_that_will_not_refuses_and_says_what_to_do(status: int, advice: str) -> None:
    with pytest.raises(PeerRefused, match=f"ownership of 'things' at http.*{status}: So it is.") as error:
        called(reply(status, b'{"code": "no", "detail": "So it is."}'), ownership)
    assert advice in str(error.value)


def test_a_redirect_is_not_followed() -> None:
    with pytest.raises(PeerRefused, match="points to 'http://elsewhere/'"):
        called(reply(302, b"", Location="http://elsewhere/"), ownership)


@pytest.mark.parametrize(
    ("body", "told"),
    [(b"", "nothing"), (b"<html>\n no </html>", "<html> no </html>"), (b"\xff[", "not an answer of this protocol")],
)
def test_an_error_of_somebody_in_between_is_shown(body: bytes, told: str) -> None:
    with pytest.raises(PeerUnavailable, match=told):
        called(reply(502, body), ownership)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"buckets": [{"bucket": 1}]}',
        b'{"buckets": [{"bucket": 1, "state": "king", "epoch": 1}]}',
        b'{"buckets": [{"bucket": "1", "state": "owner", "epoch": 1}]}',
    ],
)
def test_an_answer_that_does_not_fit_is_refused(body: bytes) -> None:
    with pytest.raises(PeerRefused, match="cannot read"):
        called(reply(200, body), ownership)


def test_an_answer_may_say_more_than_is_known() -> None:
    assert called(reply(200, b'{"buckets": [], "weather": "fine"}'), ownership) == ()


def test_changes_with_a_document_that_no_database_can_hold_are_refused() -> None:
    documents = [msgspec.to_builtins(document(1, gen=2**63))]
    answer = reply(200, msgspec.json.encode({"documents": documents, "waiting": 1}))
    with pytest.raises(PeerRefused, match=r"documents\[0\].gen"):
        called(answer, lambda remote: remote.changes("things", 5))


def test_a_change_without_an_answer_to_it_is_refused() -> None:
    change = Change(bucket=7, old=Standing(state=State.REPLICA, epoch=1), new=Standing(state=State.OWNER, epoch=2))
    with pytest.raises(PeerRefused, match="does not say whether"):
        called(reply(200, b'{"buckets": []}'), lambda remote: remote.change("things", change))


def test_an_answer_above_the_limit_is_refused(wire_settings: Any) -> None:
    wire_settings(MAX_BODY_BYTES=1_000)
    for body, headers in (
        (b"x" * 5_000_000, {}),
        (gzip.compress(b'{"buckets": []}'.ljust(1_001)), {"Content_Encoding": "gzip"}),
    ):
        with pytest.raises(PeerRefused, match="larger than 1000 bytes"):
            called(reply(200, body, **headers), ownership)


def test_a_compressed_answer_is_read() -> None:
    packed = gzip.compress(b'{"buckets": []}')
    assert called(reply(200, packed, Content_Encoding="gzip"), ownership) == ()


def test_an_answer_in_chunks_is_read() -> None:
    def answer(asked: Asked) -> None:
        asked.send_response(200)
        asked.send_header("Transfer-Encoding", "chunked")
        asked.end_headers()
        for piece in (b'{"buc', b'kets": []}', b""):
            asked.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    assert called(answer, ownership) == ()


# --- no answer --------------------------------------------------------------------------------------------------
def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(PeerUnavailable, match=r"cannot be reached.*refused"):
        ownership(RemoteSide(peer_at(free_port()), "extracted"))


@pytest.mark.parametrize("url", ["http://:1/", "http://[/", "http://127.0.0.1:99999999/"])
def test_an_address_that_means_nothing_is_an_error_of_ours(url: str) -> None:
    with pytest.raises(SyncError):
        ownership(RemoteSide(Peer(url=url, secret="s" * 40, audience="a"), "extracted"))


def test_a_connection_that_is_closed_without_an_answer_is_unavailable() -> None:
    def answer(asked: Asked) -> None:
        asked.close_connection = True

    with pytest.raises(PeerUnavailable, match="cannot be reached"):
        called(answer, ownership)


def test_an_answer_that_ends_early_is_unavailable() -> None:
    def answer(asked: Asked) -> None:
        asked.send_response(200)
        asked.send_header("Content-Length", "100")
        asked.end_headers()
        asked.wfile.write(b'{"buckets": []}')
        asked.close_connection = True

    with pytest.raises(PeerUnavailable, match="cannot be reached"):
        called(answer, ownership)


def test_a_peer_that_never_answers_is_unavailable_in_time(wire_settings: Any) -> None:
    wire_settings(TIMEOUT_SECONDS=0.2)
    over = threading.Event()
    with pytest.raises(PeerUnavailable, match=r"did not answer within 0\.2 s"):
        called(lambda asked: over.wait(20) and None, ownership, over.set)


def test_a_peer_whose_answer_trickles_is_unavailable_in_time(wire_settings: Any) -> None:
    wire_settings(TIMEOUT_SECONDS=0.5)
    over = threading.Event()

    def answer(asked: Asked) -> None:
        asked.send_response(200)
        asked.send_header("Content-Length", "1000000")
        asked.end_headers()
        while not over.wait(0.02):
            asked.wfile.write(b" ")

    before = time.monotonic()
    with pytest.raises(PeerUnavailable, match=r"did not answer within 0\.5 s"):
        called(answer, ownership, over.set)
    assert time.monotonic() - before < 10


# --- connections ------------------------------------------------------------------------------------------------
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
    done = threading.Thread(target=_answer_and_close, args=(listener, 3), daemon=True)
    done.start()
    remote = RemoteSide(peer_at(port), "extracted")
    for _ in range(3):
        assert ownership(remote) == ()
    done.join(10)
    listener.close()


def _answer_and_close(listener: socket.socket, times: int) -> None:
    """Answer one request a connection, promise to keep it, and close it."""
    for _ in range(times):
        connection, _ = listener.accept()
        with connection:
            while b"{}" not in connection.recv(65_536):
                pass
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"buckets": []}')


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
