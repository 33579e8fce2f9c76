"""The next batch is read while one is on its way, and what was answered is acknowledged, whatever happens then."""

import threading
from collections import Counter
from typing import Any

import pytest
from django.conf import settings as of_tests

from legacy_shop.orders.models import Order
from migrations_plan.sync import relay
from migrations_plan.sync.errors import AnsweredInPart, PeerRefused, PeerUnavailable
from migrations_plan.sync.local import LocalSide
from migrations_plan.sync.messages import Changes, Document, Outcome, Result
from migrations_plan.sync.models import Mark
from migrations_plan.sync.sending import Sender
from migrations_plan.sync.sides import Direction
from tests.migrations_plan.sync.houses import LEGACY, marks, order

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("captured")]


@pytest.fixture(autouse=True)
def small(settings: Any) -> None:
    """Send two documents at once."""
    settings.STRANGLER_SYNC = {**of_tests.STRANGLER_SYNC, "BATCH_DOCUMENTS": 2}


class Far:
    """A side over a network that takes everything; it touches no database, as its thread has none of the test's."""

    name = "extracted"
    elsewhere = True

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.batches: list[list[tuple[str, int]]] = []
        self.threads: set[str] = set()
        self.inside = threading.Lock()
        self.answers = threading.Event()
        self.answers.set()

    def apply(self, aggregate: str, documents: tuple[Document, ...]) -> tuple[Result, ...]:
        assert self.inside.acquire(blocking=False), "two batches are in flight"
        try:
            self.threads.add(threading.current_thread().name)
            self.batches.append([(one.key, one.gen) for one in documents])
            error = self.errors.pop(0) if self.errors else None
            assert self.answers.wait(10)
            if error is not None:
                raise error
            return tuple(map(applied, documents))
        finally:
            self.inside.release()


def applied(document: Document) -> Result:
    return Result(key=document.key, gen=document.gen, outcome=Outcome.APPLIED)


class Here(LocalSide):
    """This side; it tells what it is asked, and may be told to do something first."""

    def __init__(self) -> None:
        super().__init__("legacy", LEGACY)
        self.asked: list[str] = []
        self.first: Any = lambda: None

    def changes(self, *arguments: Any) -> Changes:
        self.asked.append("changes")
        return super().changes(*arguments)

    def ahead(self, *arguments: Any) -> Changes:
        self.asked.append("ahead")
        self.first()
        return super().ahead(*arguments)

    def ack(self, *arguments: Any) -> None:
        self.asked.append("ack")
        super().ack(*arguments)


def run(source: Here, target: Any) -> relay.Report:
    return relay.relay(LEGACY, Direction(source=source, target=target))


def unacknowledged() -> int:
    return sum(gen > acked for gen, acked in marks().values())


def test_everything_is_sent_once_and_acknowledged() -> None:
    made = [order() for _ in range(7)]
    source, target = Here(), Far()
    assert run(source, target).outcomes == {Outcome.APPLIED: 7}
    assert Counter(key for batch in target.batches for key, _ in batch) == {str(one.pk): 1 for one in made}
    assert unacknowledged() == 0
    assert source.asked == ["changes", *["ahead", "ack"] * 3, "ack", "changes"]


def test_the_next_batch_is_read_while_one_is_on_its_way() -> None:
    for _ in range(4):
        order()
    source, target = Here(), Far()
    target.answers.clear()  # it would never answer, if it were not read meanwhile
    source.first = target.answers.set
    assert run(source, target).sent == 4


def test_the_last_batch_is_sent_from_here() -> None:
    order()
    target = Far()
    run(Here(), target)
    assert target.threads == {threading.current_thread().name}


def test_a_side_that_is_here_is_never_asked_from_another_thread() -> None:
    for _ in range(4):
        order()
    target: Any = Far()
    del_elsewhere = type("Near", (), {"name": "extracted", "apply": lambda self, *given: target.apply(*given)})()
    source = Here()
    run(source, del_elsewhere)
    assert "ahead" not in source.asked
    assert target.threads == {threading.current_thread().name}


def test_a_change_of_what_is_on_its_way_is_sent_as_well() -> None:
    one, *_ = [order() for _ in range(4)]
    source, target = Here(), Far()

    def change() -> None:
        source.first = lambda: None
        Order.objects.filter(pk=one.pk).update(note="x")

    source.first = change
    run(source, target)
    assert [gen for batch in target.batches for key, gen in batch if key == str(one.pk)] == [1, 2]
    assert unacknowledged() == 0


def test_a_peer_that_goes_away_leaves_all_marked_that_it_did_not_answer() -> None:
    for _ in range(6):
        order()
    report = run(Here(), Far(None, PeerUnavailable("Gone.", retry_after=3.0)))
    assert (report.sent, report.away, report.retry_after, unacknowledged()) == (2, "Gone.", 3.0, 4)


def test_what_was_answered_is_acknowledged_though_the_next_batch_cannot_be_read() -> None:
    for _ in range(4):
        order()
    source = Here()

    def fail() -> None:
        raise ConnectionError

    source.first = fail
    with pytest.raises(ConnectionError):
        run(source, Far())
    assert unacknowledged() == 2


@pytest.mark.parametrize("total", [2, 5], ids=["the last batch", "one of several"])
def test_what_was_answered_in_part_is_acknowledged(total: int) -> None:
    first, *_ = [order() for _ in range(total)]
    answered = Result(key=str(first.pk), gen=1, outcome=Outcome.APPLIED)
    report = run(Here(), Far(AnsweredInPart((answered,), PeerUnavailable("Gone.", retry_after=3.0))))
    assert (report.outcomes, report.away, report.retry_after) == ({Outcome.APPLIED: 1}, "Gone.", 3.0)
    assert Mark.objects.get(key=str(first.pk)).acked == 1
    assert unacknowledged() == total - 1


def test_a_refusal_after_a_part_is_still_an_error() -> None:
    made = [order() for _ in range(2)]
    answered = Result(key=str(made[0].pk), gen=1, outcome=Outcome.APPLIED)
    with pytest.raises(PeerRefused, match="A wrong token"):
        run(Here(), Far(AnsweredInPart((answered,), PeerRefused("A wrong token."))))
    assert unacknowledged() == 1


def test_what_nobody_lets_be_acknowledged_does_not_go_round_and_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches whose marks are held would take turns for ever, each being new after the other."""
    for _ in range(4):
        order()
    source, target = Here(), Far()
    monkeypatch.setattr(source, "ack", lambda *arguments: None)
    run(source, target)
    assert len(target.batches) == 2


def test_no_thread_stays_behind() -> None:
    for _ in range(4):
        order()
    run(Here(), Far())
    assert not [one for one in threading.enumerate() if one.name.startswith("strangler-sync")]


def test_a_sender_is_over_even_if_it_was_left_with_an_error() -> None:
    with pytest.raises(PeerUnavailable), Sender("orders", Direction(source=Here(), target=Far()), 1, settle) as sender:  # type: ignore[arg-type]
        sender.send((Document(key="1", bucket=1, epoch=1, gen=1, version=1, data={}),))
    assert not [one for one in threading.enumerate() if one.name.startswith("strangler-sync")]


def settle(documents: Any, results: Any) -> None:
    raise PeerUnavailable
