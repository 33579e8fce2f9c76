"""The client is the side behind it: what it is asked arrives, in batches that a body can hold."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from migrations_plan.sync.errors import AnsweredInPart, PeerRefused, PeerUnavailable
from migrations_plan.sync.messages import Again, Boundary, Change, Document, Held, Sent, Standing, State
from migrations_plan.sync.wire import bodies
from migrations_plan.sync.wire.client import RemoteSide
from tests.migrations_plan.sync.wire.calling import called, document, outcomes
from tests.migrations_plan.sync.wire.memory import MemorySide
from tests.migrations_plan.sync.wire.serving import Asked, Canned, peer_at, reply, served
from tests.processes import free_port

OWNED = (State.OWNER, 1)


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


def answering_until(last: int, error: Canned) -> Canned:
    """Apply so many batches, then do something else."""
    asked_for: list[int] = []

    def answer(asked: Asked) -> None:
        body = bodies.unpack(asked.body, asked.headers["Content-Encoding"] or "", 100_000)
        sent = msgspec.json.decode(body)["documents"]
        asked_for.append(len(sent))
        if len(asked_for) > last:
            return error(asked)
        results = [{"key": one["key"], "gen": one["gen"], "outcome": "applied"} for one in sent]
        return reply(200, msgspec.json.encode({"results": results}))(asked)

    return answer


@pytest.mark.parametrize(
    ("status", "kind"), [(503, PeerUnavailable), (400, PeerRefused)], ids=["it is away", "it refuses"]
)
def test_what_was_answered_is_told_though_a_later_batch_fails(wire_settings: Any, status: int, kind: Any) -> None:
    wire_settings(BATCH_BYTES=2_000, MAX_BODY_BYTES=8_000)
    documents = tuple(document(n, size=9_000 if n == 9 else 400) for n in range(10))
    answer = answering_until(1, reply(status, b'{"code": "no", "detail": "No more."}', Retry_After="7"))
    with pytest.raises(AnsweredInPart, match="No more") as error:
        called(answer, lambda remote: remote.apply("things", documents))
    assert outcomes(error.value.results) == [*((str(n), "applied") for n in range(4)), ("9", "parked")]
    assert isinstance(error.value.reason, kind)
    assert getattr(error.value.reason, "retry_after", 7.0) == 7.0


def test_the_half_that_was_answered_is_told_as_well() -> None:
    def answer(asked: Asked) -> None:
        keys = "".join(one["key"] for one in msgspec.json.decode(asked.body)["documents"])
        if keys == "0123":
            return reply(413, b'{"code": "too_large", "detail": "More than we take."}')(asked)
        if keys == "23":
            return reply(503, b"")(asked)
        results = [{"key": key, "gen": 1, "outcome": "applied"} for key in keys]
        return reply(200, msgspec.json.encode({"results": results}))(asked)

    with pytest.raises(AnsweredInPart) as error:
        called(answer, lambda remote: remote.apply("things", tuple(document(n) for n in range(4))))
    assert outcomes(error.value.results) == [("0", "applied"), ("1", "applied")]


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
