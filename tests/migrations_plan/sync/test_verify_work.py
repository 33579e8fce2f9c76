"""Ranges are shared among workers, and constant writes raise no alarm."""

import itertools
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.db.models import F

from legacy_shop.orders.models import Order, OrderLine
from legacy_shop.payments.models import PaymentAttempt
from migrations_plan.sync import backfill, comparison, verify
from migrations_plan.sync.comparison import Compared, Difference, Kind
from migrations_plan.sync.database import capture_suppressed
from migrations_plan.sync.errors import PeerUnavailable, SyncError
from migrations_plan.sync.messages import Digest, Sent
from migrations_plan.sync.models import Finding, Mark, Verification, VerificationRange
from migrations_plan.sync.sides import Direction
from tests.migrations_plan.sync.corrupting import (
    replica_amount,
)
from tests.migrations_plan.sync.houses import (
    LEGACY,
    line,
    order,
    settle,
)
from tests.migrations_plan.sync.verifying import (
    Interrupted,
    clean,
    found,
    mend,
    no_wait,
    verified,
)

pytestmark = pytest.mark.django_db(databases=["default", "own"])


class TestWork:
    """Ranges are shared among workers, and none is lost with the one that had it."""

    @pytest.fixture
    def run(self, both: Direction, three: list[Order]) -> Verification:
        """Begin a verification of three ranges, the last of which is empty."""
        return verify.begin(LEGACY, both.source, both.target, size=2)

    def test_a_range_is_taken_once(self, run: Verification) -> None:
        taken = [verify.take_range(run) for _ in range(3)]
        assert [one and one.number for one in taken] == [0, 1, None]

    def test_the_range_of_a_worker_that_is_silent_is_taken_again(self, run: Verification) -> None:
        first = verify.take_range(run)
        assert first is not None
        let_leases_end()
        second = verify.take_range(run)
        assert second is not None
        assert second.number == first.number
        assert verify.finish_range(second, Compared(compared=2))
        assert not verify.finish_range(first, Compared(compared=1, differences=(A_DIFFERENCE,)))
        assert (VerificationRange.objects.get(number=0).compared, Finding.objects.count()) == (2, 0)

    def test_a_worker_keeps_its_range_while_it_waits(self, both: Direction, run: Verification) -> None:
        Order.objects.update(note="not sent")
        taken = verify.take_range(run)
        assert taken is not None
        dates: list[Any] = []

        def wait(seconds: float) -> None:
            dates.append(VerificationRange.objects.get(pk=taken.pk).taken_until)

        verify.work_range(taken, LEGACY, both.source, both.target, wait=wait)
        assert len(set(dates)) == len(comparison.PAUSES)
        assert dates == sorted(dates)

    def test_a_worker_whose_range_was_taken_over_writes_nothing(self, both: Direction, run: Verification) -> None:
        Order.objects.update(note="not sent")
        taken = verify.take_range(run)
        assert taken is not None
        waits: list[float] = []

        def overtaken(seconds: float) -> None:
            waits.append(seconds)
            let_leases_end()
            assert verify.take_range(run) is not None

        verify.work_range(taken, LEGACY, both.source, both.target, wait=overtaken)
        assert len(waits) == 1
        assert not VerificationRange.objects.exclude(finished_at=None).exists()

    def test_a_worker_that_fails_gives_its_range_back(self, both: Direction, run: Verification) -> None:
        with pytest.raises(PeerUnavailable):
            verify.work_next(LEGACY, both.source, Away(both.target), wait=no_wait)  # type: ignore[arg-type]
        assert not VerificationRange.objects.exclude(taken_until=None).exists()
        assert verify.work_next(LEGACY, both.source, both.target, wait=no_wait)

    def test_ranges_are_worked_at_until_none_is_left(self, both: Direction, run: Verification) -> None:
        done = [verify.work_next(LEGACY, both.source, both.target, wait=no_wait) for _ in range(3)]
        assert done == [True, True, False]
        run.refresh_from_db()
        assert (run.compared, run.finished_at is not None) == (3, True)
        assert verify.unfinished(LEGACY) is None
        assert verify.latest(LEGACY) == run

    def test_a_run_goes_on_where_another_was_left(self, both: Direction, run: Verification) -> None:
        verify.work_next(LEGACY, both.source, both.target, wait=no_wait)
        seen: list[verify.Progress] = []
        again = verify.run(LEGACY, both.source, both.target, progress=seen.append, wait=no_wait)
        assert again == run
        assert [(one.ranges_done, one.ranges, one.compared) for one in seen] == [(2, 2, 3)]
        assert seen[-1].clean

    def test_a_run_waits_for_the_ranges_of_others(self, both: Direction, run: Verification) -> None:
        others = verify.take_range(run)
        assert others is not None
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            verify.finish_range(others, Compared(compared=2))

        assert clean(verify.run(LEGACY, both.source, both.target, wait=wait))
        assert waits == [verify.POLL_SECONDS]

    def test_a_new_one_takes_the_place_of_one_that_is_not_finished(self, both: Direction, run: Verification) -> None:
        newer = verify.begin(LEGACY, both.source, both.target)
        assert verify.unfinished(LEGACY) == newer
        run.refresh_from_db()
        assert run.abandoned_at is not None
        assert verify.latest(LEGACY) is None

    def test_a_run_whose_place_was_taken_says_so(self, both: Direction, three: list[Order]) -> None:
        Order.objects.update(note="not sent")

        def replaced(seconds: float) -> None:
            if Verification.objects.count() == 1:
                verify.begin(LEGACY, both.source, both.target)

        with pytest.raises(SyncError, match="in place of this one"):
            verify.run(LEGACY, both.source, both.target, wait=replaced)

    def test_it_is_cut_where_there_is_more_to_compare(self, both: Direction, three: list[Order]) -> None:
        with capture_suppressed("default"):
            PaymentAttempt.objects.all().delete()
            Order.objects.all().delete()
        run = verify.begin(LEGACY, both.source, both.target, size=1)
        assert run.ranges.count() == 4

    def test_two_runs_count_apart(self, both: Direction, three: list[Order]) -> None:
        replica_amount(three[1])
        first = verified(both)
        mend(both, first)
        second = verified(both)
        assert (first.corrupt, second.corrupt) == (1, 0)
        assert verify.latest(LEGACY) == second
        assert verify.doubtful_buckets(first) == {Mark.objects.get(key=str(three[1].pk)).bucket}
        assert verify.doubtful_buckets(second) == frozenset()


A_DIFFERENCE = Difference(key="1", bucket=1, kind=Kind.CHANGED, owner_gen=1, replica_gen=1, detail="")


class Away(Interrupted):
    """A side that does not answer."""

    def digest(self, *arguments: Any, **named: Any) -> Digest:
        raise PeerUnavailable("away")


def let_leases_end() -> None:
    for one in VerificationRange.objects.exclude(taken_until=None):
        VerificationRange.objects.filter(pk=one.pk).update(taken_until=one.taken_until - timedelta(hours=1))


# --- under load -----------------------------------------------------------------------------------------------
class Writing:
    """A thread that makes, changes and deletes the shop's orders all the time, until the block ends."""

    def __init__(self, orders: list[Order]) -> None:
        self.owner, self.keys = orders[0].customer, [one.pk for one in orders]
        self.product = orders[0].lines.all()[0].product
        self.writes = 0
        self.failures: list[BaseException] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Writing":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        assert not self.failures

    def _run(self) -> None:
        try:
            for number in itertools.count():
                if self._stop.wait(0.001):
                    break
                self._write(number)
                self.writes += 1
        except BaseException as error:  # shown to the test
            self.failures.append(error)
        finally:
            connections.close_all()

    def _write(self, number: int) -> None:
        key = self.keys[number % len(self.keys)]
        kind = number % 4
        if kind == 0:
            line(order(self.owner), product=self.product)
        elif kind == 1:
            OrderLine.objects.filter(order_id=key).order_by("id")[0].delete()
            line(Order(pk=key), product=self.product)
        elif kind == 2:
            Order.objects.exclude(pk__in=self.keys).order_by("id")[0].delete()
        else:
            Order.objects.filter(pk=key).update(note=f"note {number}", total=F("total") + 1)


def pass_on(way: Direction) -> None:
    """Relay one batch; a relay that went on until nothing is marked would never end while somebody writes."""
    documents = way.source.changes("orders", 500).documents
    results = way.target.apply("orders", documents)
    assert all(result.outcome.settles for result in results)
    way.source.ack("orders", tuple(Sent(key=one.key, gen=one.gen) for one in results), ())


@pytest.mark.django_db(databases=["default", "own"], transaction=True)
def test_ten_verifications_under_constant_writes_raise_no_alarm(both: Direction) -> None:
    backfill.start(LEGACY)
    backfill.run(LEGACY, progress=lambda done: None, wait=no_wait)
    made = [order(lines=2) for _ in range(30)]
    settle(both)
    asked_again: list[float] = []

    def relayed(seconds: float) -> None:
        asked_again.append(seconds)
        pass_on(both)

    corrupt, compared = [], []
    with Writing(made) as writing:
        for _ in range(10):
            before = writing.writes
            verify.begin(LEGACY, both.source, both.target, size=8)
            verification = verify.run(LEGACY, both.source, both.target, wait=relayed)
            corrupt.append(found(verification))
            compared.append(verification.compared)
            assert writing.writes > before, "nobody wrote during this verification"
    assert corrupt == [{}] * 10
    assert min(compared) >= 15, "most of what was there could not be compared"
    assert len(asked_again) >= 10, "nothing was on its way: this proves nothing"
    settle(both)
    replica_amount(made[3])
    assert found(verified(both)) == {str(made[3].pk): Kind.CHANGED}
