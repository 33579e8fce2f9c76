"""Every failure of a peer has a name, and what it answers is bounded."""

import gzip
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest

from migrations_plan.sync.conf import Peer
from migrations_plan.sync.errors import PeerRefused, PeerUnavailable, SyncError
from migrations_plan.sync.messages import Change, Standing, State
from migrations_plan.sync.wire.client import RemoteSide
from tests.migrations_plan.sync.wire.calling import called, document, ownership
from tests.migrations_plan.sync.wire.serving import Asked, peer_at, reply
from tests.processes import free_port


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


def test_nobody_waits_long_to_hear_who_owns_a_bucket(wire_settings: Any) -> None:
    wire_settings(TIMEOUT_SECONDS=600, OWNERSHIP_SECONDS=0.2)
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
