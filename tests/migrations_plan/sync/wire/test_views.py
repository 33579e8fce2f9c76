"""The view: every way not to be served has a status, a code and a reason; what is served reaches the side."""

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import msgspec
import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.db import InterfaceError, OperationalError, connections
from django.http import HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import resolve

from migrations_plan.sync.errors import Busy, NotTheOwner, UnknownBucket, Unloadable
from migrations_plan.sync.messages import Again, Boundary, Changes, Document, Held, Result, Sent, State
from migrations_plan.sync.wire import tokens, urls
from migrations_plan.sync.wire.views import answered
from tests.migrations_plan.sync.wire.memory import MemorySide
from tests.migrations_plan.sync.wire.serving import AUDIENCE, SECRET

DOCUMENT = {"key": "7", "bucket": 3, "epoch": 1, "gen": 2, "version": 1, "data": {"name": "a", "amount": 1}}


def call(
    verb: str,
    body: Any = None,
    *,
    side: Any = None,
    aggregate: str = "things",
    method: str = "POST",
    token: str | None = None,
    **headers: Any,
) -> HttpResponse:
    """Return what a side in memory answers."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body or {})
    given = {"Authorization": f"Bearer {token}" if token else bearer(aggregate, verb), **headers}
    request = RequestFactory().generic(method, f"/{aggregate}/{verb}", raw, "application/json", headers=given)
    return answered(request, aggregate, verb, side or MemorySide())


def bearer(aggregate: str = "things", verb: str = "ownership") -> str:
    """Return a good Authorization header."""
    return f"Bearer {tokens.issue(aggregate, verb, audience=AUDIENCE, secret=SECRET)}"


def read(response: HttpResponse) -> Any:
    """Return a good answer's JSON."""
    assert response.status_code == 200, response.content
    return msgspec.json.decode(response.content)


def refused(response: HttpResponse, status: int, code: str) -> str:
    """Return the reason of a refusal of this status and code."""
    body = msgspec.json.decode(response.content)
    assert (response.status_code, body["code"]) == (status, code), body
    assert set(body) == {"code", "detail"}
    assert response["Content-Type"] == "application/json"
    detail: str = body["detail"]
    return detail


# --- who is let in ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_only_posts_are_served(method: str) -> None:
    response = call("ownership", method=method)
    assert response["Allow"] == "POST"
    assert method in refused(response, 405, "method")


@pytest.mark.parametrize("verb", ["changes", "apply", "ack", "digest", "ownership"])
def test_every_verb_wants_a_token_of_its_own(verb: str) -> None:
    other = tokens.issue("things", "another", audience=AUDIENCE, secret=SECRET)
    response = call(verb, token=other)
    assert response["WWW-Authenticate"] == "Bearer"
    assert "'another'" in refused(response, 401, "token")


def test_a_token_is_looked_at_before_the_body() -> None:
    side = MemorySide()
    detail = refused(call("apply", b"nonsense", side=side, token="nonsense"), 401, "token")
    assert "rejected" in detail


@pytest.mark.parametrize("settings", [{"SECRET": ""}, {"AUDIENCE": ""}])
def test_without_a_secret_nobody_is_let_in(wire_settings: Any, settings: dict[str, str]) -> None:
    wire_settings(**settings)
    assert "SECRET" in refused(call("ownership"), 403, "not_configured")


def test_an_unknown_aggregate_is_told_the_known_ones() -> None:
    assert "Known: things" in refused(call("ownership", aggregate="nothings"), 404, "unknown_aggregate")


def test_an_unknown_verb_is_told_the_known_ones() -> None:
    assert "changes, apply, ack, digest, ownership" in refused(call("explode"), 404, "unknown_verb")


# --- bodies -----------------------------------------------------------------------------------------------------
def test_a_body_above_the_limit_is_refused_unread(wire_settings: Any) -> None:
    wire_settings(MAX_BODY_BYTES=1_000)
    assert "1000 bytes" in refused(call("ownership", b"{}".ljust(1_001)), 413, "too_large")
    read(call("ownership", b"{}".ljust(1_000)))


def test_a_body_that_unpacks_above_the_limit_is_refused(wire_settings: Any) -> None:
    wire_settings(MAX_BODY_BYTES=1_000)
    packed = gzip.compress(b"{}".ljust(1_001))
    assert "1000 bytes" in refused(call("ownership", packed, **{"Content-Encoding": "gzip"}), 413, "too_large")


def test_a_body_of_unknown_length_is_refused() -> None:
    assert "Content-Length" in refused(call("ownership", **{"Content-Length": ""}), 411, "length")


def test_a_body_that_ends_early_is_refused() -> None:
    request = RequestFactory().post("/things/ownership", b"{}", "application/json", headers={"Authorization": bearer()})
    cut_off = WSGIRequest({**request.environ, "CONTENT_LENGTH": "9", "wsgi.input": BytesIO(b"{}")})
    assert "2 of 9 bytes" in refused(answered(cut_off, "things", "ownership", MemorySide()), 400, "malformed")


def test_a_caller_that_goes_away_is_no_fault_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("connection reset")

    request = RequestFactory().post("/things/ownership", b"{}", "application/json", headers={"Authorization": bearer()})
    broken = WSGIRequest({**request.environ, "wsgi.input": Broken()})
    assert "went away" in refused(answered(broken, "things", "ownership", MemorySide()), 400, "malformed")
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


def test_a_body_in_another_encoding_is_refused() -> None:
    assert "'br'" in refused(call("ownership", **{"Content-Encoding": "br"}), 415, "encoding")


def test_a_body_that_does_not_fit_is_named() -> None:
    wrong = {"documents": [DOCUMENT, {**DOCUMENT, "gen": "2"}]}
    side = MemorySide()
    assert "`$.documents[1].gen`" in refused(call("apply", wrong, side=side), 400, "malformed")
    assert side.rows == {}


def test_a_large_body_is_no_business_of_django_s_own_limit() -> None:
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=10):
        assert read(call("apply", {"documents": [DOCUMENT]}))["results"][0]["outcome"] == "applied"


# --- what goes wrong inside -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("error", "status", "code", "again"),
    [
        (UnknownBucket("nobody knows"), 409, "unknown_bucket", False),
        (NotTheOwner("a replica"), 409, "not_the_owner", False),
        (Unloadable("no key"), 400, "malformed", False),
        (Busy("somebody else"), 503, "busy", True),
        (OperationalError("canceling statement due to lock timeout\n"), 503, "database", True),
        (InterfaceError("connection already closed"), 503, "database", True),
        (ZeroDivisionError("a bug"), 500, "failed", False),
    ],
)
def test_what_goes_wrong_is_answered(
    error: Exception, status: int, code: str, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, aggregate: str) -> Any:
        raise error

    monkeypatch.setattr(MemorySide, "ownership", fail)
    response = call("ownership")
    detail = refused(response, status, code)
    assert response.has_header("Retry-After") == again
    assert ("a bug" in detail, str(error).strip() in detail) == (False, status != 500)


def test_a_bug_is_logged_and_not_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(self: Any, aggregate: str) -> Any:
        raise ZeroDivisionError("with a customer's address in it")

    monkeypatch.setattr(MemorySide, "ownership", fail)
    assert "address" not in refused(call("ownership"), 500, "failed")
    (record,) = [one for one in caplog.records if one.name == "strangler.sync"]
    assert record.exc_info is not None
    assert "ownership of things failed" in record.getMessage()


# --- back-pressure ----------------------------------------------------------------------------------------------
class SlowSide(MemorySide):
    """Applies when it is told to, and says when somebody waits for that."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.go_on = threading.Semaphore(0), threading.Event()

    def apply(self, aggregate: str, documents: tuple[Document, ...]) -> tuple[Result, ...]:
        self.inside.release()
        assert self.go_on.wait(20)
        return super().apply(aggregate, documents)


def test_only_so_many_apply_at_once(wire_settings: Any) -> None:
    wire_settings(MAX_APPLIES=2)
    side = SlowSide()
    with ThreadPoolExecutor(2) as pool:
        applying = [pool.submit(call, "apply", {"documents": [DOCUMENT]}, side=side) for _ in range(2)]
        assert all(side.inside.acquire(timeout=20) for _ in range(2))
        turned_away = call("apply", {"documents": [DOCUMENT]}, side=side)
        others = [call(verb, {"limit": 1} if verb == "changes" else {}, side=side) for verb in ("changes", "ownership")]
        side.go_on.set()
        outcomes = sorted(read(one.result())["results"][0]["outcome"] for one in applying)
    assert "2 requests" in refused(turned_away, 429, "busy")
    assert turned_away["Retry-After"] == "1"
    assert [other.status_code for other in others] == [200, 200]
    assert outcomes == ["applied", "skipped"]
    assert read(call("apply", {"documents": [DOCUMENT]}, side=side))["results"][0]["outcome"] == "skipped"


# --- the verbs --------------------------------------------------------------------------------------------------
class Listening(MemorySide):
    """Notes what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def ack(self, aggregate: str, sent: tuple[Sent, ...], held: tuple[Held, ...]) -> None:
        self.asked.append(("ack", sent, held))

    def repair(self, aggregate: str, keys: tuple[Again, ...]) -> int:
        self.asked.append(("repair", keys))
        return len(keys)

    def digest(self, aggregate: str, boundary: Boundary, *, detail: bool, keys: tuple[str, ...] = ()) -> Any:
        self.asked.append(("digest", boundary, detail, keys))
        return super().digest(aggregate, boundary, detail=detail, keys=keys)

    def boundaries(self, aggregate: str, size: int) -> tuple[Boundary, ...]:
        self.asked.append(("boundaries", size))
        return (Boundary(),)


def test_ack_tells_what_has_arrived_what_waits_and_what_is_to_be_sent_again() -> None:
    side = Listening()
    body = {
        "sent": [{"key": "1", "gen": 2}],
        "held": [{"key": "2", "gen": 3, "seconds": 1.5, "reason": "no room"}],
        "again": [{"key": "3", "gen": 4, "bucket": 5}],
    }
    assert read(call("ack", body, side=side)) == {"again": 1}
    assert side.asked == [
        ("ack", (Sent(key="1", gen=2),), (Held(key="2", gen=3, seconds=1.5, reason="no room"),)),
        ("repair", (Again(key="3", gen=4, bucket=5),)),
    ]


def test_ack_of_nothing_asks_nothing() -> None:
    side = Listening()
    assert read(call("ack", side=side)) == {"again": 0}
    assert side.asked == []


def test_digest_asks_for_a_range_or_for_keys() -> None:
    side = Listening()
    answer = read(call("digest", {"after": "3", "until": "9", "keys": ["4"], "detail": True}, side=side))
    assert side.asked == [("digest", Boundary(after="3", until="9"), True, ("4",))]
    assert answer["entries"] == []
    assert len(answer["buckets"]) == 100


def test_digest_cuts_ranges() -> None:
    side = Listening()
    assert read(call("digest", {"cut": 500}, side=side)) == {"boundaries": [{"after": None, "until": None}]}
    assert side.asked == [("boundaries", 500)]


def test_ownership_says_who_the_side_is_and_changes_it() -> None:
    side = MemorySide()
    assert "done" not in read(call("ownership", side=side))
    change = {"bucket": 7, "from": {"state": "replica", "epoch": 1}, "to": {"state": "owner", "epoch": 2}}
    first, second = (read(call("ownership", {"change": change}, side=side)) for _ in range(2))
    assert (first["done"], second["done"]) == (True, False)
    assert first["buckets"][7] == {"bucket": 7, "state": "owner", "epoch": 2, "backfilled": False}
    assert side.owns[7] == (State.OWNER, 2)


# --- changes ----------------------------------------------------------------------------------------------------
class Full(Listening):
    """Has documents of these sizes to send."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.documents = tuple(
            Document(key=str(n), bucket=1, epoch=1, gen=5, version=1, data={"x": "x" * size})
            for n, size in enumerate(sizes)
        )

    def changes(self, aggregate: str, limit: int, buckets: tuple[int, ...] = ()) -> Changes:
        return Changes(documents=self.documents[:limit], waiting=77)


def keys(answer: Any) -> list[str]:
    """Return the keys of documents."""
    return [one["key"] for one in answer["documents"]]


def test_changes_answers_as_many_as_asked_for() -> None:
    answer = read(call("changes", {"limit": 2}, side=Full(1, 1, 1)))
    assert (keys(answer), answer["waiting"]) == (["0", "1"], 77)


def test_changes_answers_no_more_than_one_batch_may_hold(wire_settings: Any) -> None:
    wire_settings(BATCH_BYTES=2_000)
    side = Full(700, 700, 700, 700)
    assert keys(read(call("changes", {"limit": 4}, side=side))) == ["0", "1"]
    assert side.asked == []


def test_changes_answers_a_document_above_that_alone(wire_settings: Any) -> None:
    wire_settings(BATCH_BYTES=2_000)
    assert keys(read(call("changes", {"limit": 4}, side=Full(5_000, 1, 1)))) == ["0"]


def test_a_document_that_no_body_can_hold_waits_with_a_reason_and_the_others_are_sent(wire_settings: Any) -> None:
    wire_settings(MAX_BODY_BYTES=3_000)
    side = Full(1, 5_000, 1)
    response = call("changes", {"limit": 4}, side=side)
    assert keys(read(response)) == ["0", "2"]
    ((_, sent, (held,)),) = side.asked
    assert (sent, held.key, held.gen) == ((), "1", 5)
    assert "a body may have 3000" in held.reason


def test_nothing_to_send_is_an_answer() -> None:
    assert read(call("changes", {"limit": 4}, side=MemorySide())) == {"documents": [], "waiting": 0}


def test_no_answer_is_above_the_limit(wire_settings: Any) -> None:
    for limit in range(400, 480):
        wire_settings(MAX_BODY_BYTES=limit, BATCH_BYTES=1_000)
        assert len(call("changes", {"limit": 9}, side=Full(200, 1, 80)).content) <= limit


# --- in Django --------------------------------------------------------------------------------------------------
def test_a_long_answer_is_compressed_for_those_who_ask() -> None:
    plain, packed = call("ownership"), call("ownership", **{"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain
    assert packed["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.content) == plain.content
    assert plain["Cache-Control"] == "no-store"


@override_settings(ROOT_URLCONF="migrations_plan.sync.wire.urls")
def test_the_address_of_a_verb_is_reached_without_a_cookie_or_a_login() -> None:
    response = Client(enforce_csrf_checks=True).post("/orders/ownership", b"{}", content_type="application/json")
    assert "no token" in refused(response, 401, "token")


def test_no_transaction_is_open_around_a_verb() -> None:
    view = resolve("/orders/apply", urlconf=urls).func
    assert view._non_atomic_requests == set(connections)  # type: ignore[attr-defined]
    assert view.login_required is False  # type: ignore[attr-defined]
