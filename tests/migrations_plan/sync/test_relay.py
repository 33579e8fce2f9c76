"""The relay between two sides that are told what to answer."""

from typing import Any

import pytest
from django.conf import settings as of_tests

from legacy_shop.orders.models import Order
from migrations_plan.sync import backfill, changes, database, relay
from migrations_plan.sync.errors import PeerRefused, PeerUnavailable
from migrations_plan.sync.lag import percentiles
from migrations_plan.sync.messages import Changes, Document, Held, Outcome, Result, Sent, State
from migrations_plan.sync.models import Mark, Ownership
from migrations_plan.sync.sides import Direction
from tests.migrations_plan.sync.houses import AT, LEGACY, OWN, become, contents, marks, order, read

pytestmark = pytest.mark.django_db(databases=["default", "own"])


class Source:
    """A side that always has something to send."""

    name = "legacy"

    def __init__(self, *, moves_on: bool = True) -> None:
        self.gen = 1
        self.moves_on = moves_on
        self.sent: list[tuple[Sent, ...]] = []
        self.held: list[tuple[Held, ...]] = []

    def changes(self, aggregate: str, limit: int) -> Changes:
        document = Document(key="1", bucket=1, epoch=1, gen=self.gen, version=1, data={}, changed_at=None)
        return Changes(documents=(document,), waiting=1)

    def ack(self, aggregate: str, sent: tuple[Sent, ...], held: tuple[Held, ...]) -> None:
        self.sent.append(sent)
        self.held.append(held)
        self.gen += self.moves_on


class Target:
    """A side that answers as it is told."""

    name = "extracted"

    def __init__(self, *outcomes: Outcome | Exception) -> None:
        self.outcomes = list(outcomes)

    def apply(self, aggregate: str, documents: tuple[Document, ...]) -> tuple[Result, ...]:
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return tuple(Result(key=one.key, gen=one.gen, outcome=outcome, reason="") for one in documents)


def way(source: Any, target: Any) -> Direction:
    return Direction(source=source, target=target)


class TestTime:
    def test_somebody_who_writes_all_the_time_does_not_keep_it_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = iter(range(1000))
        monkeypatch.setattr(relay, "monotonic", lambda: next(clock))
        source = Source()
        report = relay.relay(LEGACY, way(source, Target(Outcome.APPLIED)), seconds=5)
        assert report.outcomes == {Outcome.APPLIED: 5}
        assert len(source.sent) == 5

    def test_something_is_sent_in_any_case(self) -> None:
        report = relay.relay(LEGACY, way(Source(), Target(Outcome.APPLIED)), seconds=0)
        assert report.sent == 1

    def test_what_cannot_be_acknowledged_is_not_sent_over_and_over(self) -> None:
        """A long transaction holds the mark; whoever acknowledges passes over it."""
        report = relay.relay(LEGACY, way(Source(moves_on=False), Target(Outcome.SKIPPED)))
        assert report.outcomes == {Outcome.SKIPPED: 1}

    def test_again_and_again_with_pauses_that_grow(self, both: Direction, monkeypatch: pytest.MonkeyPatch) -> None:
        now, waits = 0.0, []
        monkeypatch.setattr(relay, "monotonic", lambda: now)

        def wait(seconds: float) -> None:
            nonlocal now
            now += seconds
            waits.append(seconds)
            if len(waits) == 6:
                order()

        report = relay.relay_for([LEGACY], both, 1.2, renew=lambda: None, wait=wait)
        assert waits == pytest.approx([0.05, 0.1, 0.2, 0.2, 0.2, 0.2, 0.1, 0.05, 0.1], abs=0.001)
        assert report.outcomes == {Outcome.APPLIED: 1}

    def test_who_owns_nothing_is_rarely_asked_for_changes(
        self, both: Direction, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waits: list[float] = []
        now = 0.0
        monkeypatch.setattr(relay, "monotonic", lambda: now)

        def wait(seconds: float) -> None:
            nonlocal now
            now += seconds
            waits.append(seconds)
            if len(waits) == 2:
                Ownership.objects.filter(aggregate="orders", bucket=3).update(state=State.FROZEN)

        back = Direction(source=both.target, target=both.source)
        relay.relay_for([LEGACY], back, 2.3, renew=lambda: None, wait=wait)
        assert waits == pytest.approx([1.0, 1.0, 0.2, 0.2], abs=0.001)


class TestAnswers:
    @pytest.mark.parametrize("outcome", [Outcome.APPLIED, Outcome.SKIPPED])
    def test_what_has_arrived_is_acknowledged(self, outcome: Outcome) -> None:
        source = Source()
        relay.relay(LEGACY, way(source, Target(outcome)), seconds=0)
        assert (source.sent, source.held) == ([(Sent(key="1", gen=1),)], [()])

    @pytest.mark.parametrize(
        ("outcome", "seconds"),
        [
            (Outcome.PARKED, relay.PARKED_SECONDS),
            (Outcome.REFUSED_STATE, relay.REFUSED_SECONDS),
            (Outcome.REFUSED_EPOCH, relay.REFUSED_SECONDS),
        ],
    )
    def test_what_was_not_taken_waits(self, outcome: Outcome, seconds: float) -> None:
        source = Source()
        relay.relay(LEGACY, way(source, Target(outcome)), seconds=0)
        assert source.sent == [()]
        ((held,),) = source.held
        assert (held.key, held.gen, held.seconds) == ("1", 1, seconds)
        assert held.reason == outcome.replace("_", " ")

    def test_away_is_told_and_everything_stays_marked(self, both: Direction) -> None:
        order()
        away = Target(PeerUnavailable("It is down.", retry_after=7.0))
        report = relay.relay(LEGACY, way(both.source, away))
        assert (report.away, report.retry_after, report.waiting, report.sent) == ("It is down.", 7.0, 1, 0)
        assert str(report) == "legacy->extracted: nothing to send; It is down."
        assert list(marks().values()) == [(1, 0)]

    def test_away_in_the_middle_keeps_what_was_sent(self) -> None:
        source = Source()
        target = Target(Outcome.APPLIED, Outcome.APPLIED, PeerUnavailable("Gone."))
        report = relay.relay(LEGACY, way(source, target))
        assert (report.sent, report.away, len(source.sent)) == (2, "Gone.", 2)
        assert str(report) == "legacy->extracted: 2 applied; Gone."

    def test_refused_altogether_is_an_error(self) -> None:
        with pytest.raises(PeerRefused):
            relay.relay(LEGACY, way(Source(), Target(PeerRefused("A wrong token."))))


class TestBatches:
    def test_as_many_at_once_as_the_settings_say(self, both: Direction, settings: Any) -> None:
        settings.STRANGLER_SYNC = {**of_tests.STRANGLER_SYNC, "BATCH_DOCUMENTS": 2}
        for _ in range(5):
            order()
        renewed: list[int] = []
        relay.relay(LEGACY, both, renew=lambda: renewed.append(1))
        assert len(renewed) == 4  # three batches, and a look that found nothing
        assert contents(LEGACY) == contents(OWN)
        assert set(marks().values()) == {(1, 1)}

    def test_a_quarter_of_a_batch_is_for_the_latest(self, both: Direction) -> None:
        made = [order() for _ in range(12)]
        documents = both.source.changes("orders", 8).documents
        assert [one.key for one in documents] == [str(made[place].pk) for place in (0, 1, 2, 3, 4, 5, 11, 10)]

    def test_nothing_twice_in_a_batch(self, both: Direction) -> None:
        for _ in range(7):
            order()
        keys = [one.key for one in both.source.changes("orders", 8).documents]
        assert len(keys) == len(set(keys)) == 7

    def test_one_that_cannot_be_made_into_a_document_holds_up_nobody(self, both: Direction) -> None:
        bad, fine = order(status=77), order()
        relay.relay(LEGACY, both)
        assert contents(OWN).keys() == {str(fine.pk)}
        mark = Mark.objects.get(key=str(bad.pk))
        assert (mark.acked, mark.tries) == (0, 1)
        assert "It cannot be made into a document" in mark.reason
        Order.objects.filter(pk=bad.pk).update(status=10)
        relay.relay(LEGACY, both)
        assert contents(OWN).keys() == {str(fine.pk), str(bad.pk)}


class TestTryingAgain:
    def test_each_time_later_and_never_too_late(self, both: Direction) -> None:
        order()
        held = Held(key=next(iter(marks())), gen=1, seconds=2.0, reason="no")
        waits = []
        for _ in range(30):
            both.source.ack("orders", (), (held,))
            mark = Mark.objects.get()
            waits.append((mark.retry_at - changes.timezone.now()).total_seconds())  # type: ignore[operator]
        assert waits[:4] == pytest.approx([2, 4, 8, 16], abs=1.0)
        assert waits[-1] == pytest.approx(changes.LONGEST_HOLD_SECONDS, abs=1.0)
        assert read(both) == ()

    def test_a_newer_version_does_not_wait(self, both: Direction) -> None:
        made = order()
        both.source.ack("orders", (), (Held(key=str(made.pk), gen=1, seconds=99.0, reason="no"),))
        assert read(both) == ()
        Order.objects.update(note="x")
        assert [one.gen for one in read(both)] == [2]

    def test_a_refusal_of_an_older_version_says_nothing_about_the_newer(self, both: Direction) -> None:
        made = order()
        Order.objects.update(note="x")
        both.source.ack("orders", (), (Held(key=str(made.pk), gen=1, seconds=99.0, reason="no"),))
        assert [one.gen for one in read(both)] == [2]

    def test_hurry(self, both: Direction) -> None:
        one, other = order(), order()
        held = tuple(Held(key=str(made.pk), gen=1, seconds=99.0, reason="no") for made in (one, other))
        both.source.ack("orders", (), held)
        assert changes.hurry(LEGACY, [str(one.pk)]) == 1
        assert [document.key for document in read(both)] == [str(one.pk)]
        assert changes.hurry(LEGACY) == 1


def test_what_a_backfill_has_marked_is_no_lag(both: Direction) -> None:
    """It waits for its turn, which says nothing about how soon a change arrives."""
    with database.capture_suppressed("default"):
        order()
    backfill.start(LEGACY)
    order()  # amid the backfill
    backfill.run(LEGACY, progress=lambda done: None, wait=lambda seconds: None)
    assert relay.relay(LEGACY, both).outcomes == {Outcome.APPLIED: 2}
    assert percentiles("default", "orders", "legacy->extracted", AT).samples == 0
    order()
    relay.relay(LEGACY, both)
    assert percentiles("default", "orders", "legacy->extracted", AT).samples == 1


def test_the_lag_is_measured_from_the_change_to_its_arrival(both: Direction) -> None:
    made = order()
    Mark.objects.update(changed_at=changes.timezone.now() - changes.timedelta(seconds=3))
    relay.relay(LEGACY, both)
    measured = percentiles("default", "orders", "legacy->extracted", AT)
    assert (measured.samples, measured.p50) == (1, pytest.approx(3.0, rel=0.15))
    deliver_again(both, made)
    assert percentiles("default", "orders", "legacy->extracted", AT).samples == 1


def deliver_again(both: Direction, made: Order) -> None:
    """Send a version that has arrived already, as after an answer that was lost."""
    Mark.objects.filter(key=str(made.pk)).update(acked=0)
    assert relay.relay(LEGACY, both).outcomes == {Outcome.SKIPPED: 1}


def test_a_frozen_bucket_is_sent_and_refused_until_it_has_a_replica(both: Direction) -> None:
    order()
    bucket = Mark.objects.get().bucket
    become(LEGACY, bucket, State.FROZEN, 2)
    become(OWN, bucket, State.FROZEN, 2)
    assert relay.relay(LEGACY, both).outcomes == {Outcome.REFUSED_STATE: 1}
    become(OWN, bucket, State.REPLICA, 2)
    changes.hurry(LEGACY)
    assert relay.relay(LEGACY, both).outcomes == {Outcome.APPLIED: 1}


def test_nor_is_what_stood_behind_that(both: Direction, settings: Any) -> None:
    """A change that comes before all that was marked has been sent waits for more than its turn."""
    settings.STRANGLER_SYNC = {**of_tests.STRANGLER_SYNC, "BATCH_DOCUMENTS": 2}
    with database.capture_suppressed("default"):
        for _ in range(6):
            order()
    backfill.start(LEGACY)
    backfill.run(LEGACY, progress=lambda done: None, wait=lambda seconds: None)
    order()
    relay.relay(LEGACY, both)
    assert percentiles("default", "orders", both.name, AT).samples == 0
    order()
    relay.relay(LEGACY, both)
    assert percentiles("default", "orders", both.name, AT).samples == 1
