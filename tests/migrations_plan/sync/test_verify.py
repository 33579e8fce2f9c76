"""What differs is found, named and mended, on either side; what is only on its way is never taken for it."""

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.db.models import F

from legacy_shop.orders.models import Order, OrderLine
from legacy_shop.payments.models import PaymentAttempt
from migrations_plan.sync import backfill, comparison, verify
from migrations_plan.sync.buckets import bucket
from migrations_plan.sync.comparison import Compared, Difference, Kind
from migrations_plan.sync.database import capture_suppressed
from migrations_plan.sync.errors import NotTheOwner, PeerUnavailable, SyncError
from migrations_plan.sync.local import LocalSide
from migrations_plan.sync.messages import BucketState, Digest, Sent, Side, State
from migrations_plan.sync.models import Applied, Finding, Mark, Ownership, Verification, VerificationRange
from migrations_plan.sync.relay import relay
from migrations_plan.sync.sides import Direction
from tests.migrations_plan.sync.houses import (
    LEGACY,
    OWN,
    attempt,
    become,
    contents,
    customer,
    line,
    marks,
    order,
    settle,
)
from tests.own.models import Attempt, Item
from tests.own.rows import OwnOrder, make_orders

pytestmark = pytest.mark.django_db(databases=["default", "own"])

Patch = pytest.MonkeyPatch


def no_wait(seconds: float) -> None:
    """Ask again at once."""


def verified(way: Direction, wait: Callable[[float], None] = no_wait) -> Verification:
    """Compare everything, from the beginning."""
    return verify.run(LEGACY, way.source, way.target, anew=True, wait=wait)


def found(verification: Verification) -> dict[str, str]:
    return dict(Finding.objects.filter(verification=verification).values_list("key", "kind"))


def mend(way: Direction, verification: Verification) -> int:
    """Repair, and let the relay work in both directions."""
    done = verify.repair(LEGACY, list(verify.unrepaired(verification)), way.source, way.target)
    relay(LEGACY, way)
    relay(LEGACY, Direction(source=way.target, target=way.source))
    return done


def clean(verification: Verification) -> bool:
    return verify.progress_of(verification).clean


def customers_of_three_buckets() -> list[User]:
    by_bucket: dict[int, User] = {}
    while len(by_bucket) < 3:
        made = customer()
        by_bucket.setdefault(bucket("orders", made.pk), made)
    return list(by_bucket.values())


@pytest.fixture
def three(both: Direction) -> list[Order]:
    """Have three orders with parts on both sides, backfilled; the one in the middle is for doing harm."""
    Ownership.objects.filter(aggregate="orders").update(backfilled=True)
    made = [order(owner, lines=2) for owner in customers_of_three_buckets()]
    for one in made:
        attempt(one)
    Order.objects.update(note="changed once")
    settle(both)
    return made


# --- planted corruption ---------------------------------------------------------------------------------------
def own() -> Any:
    return OwnOrder.objects.using("own")


def replica_amount(of: Order) -> None:
    own().filter(pk=of.pk).update(total_minor=F("total_minor") + 1)


def replica_text_set_to_null(of: Order) -> None:
    own().filter(pk=of.pk).update(given_name=None)


def replica_part_amount(of: Order) -> None:
    Item.objects.using("own").filter(order_id=of.pk).update(amount_minor=1)


def replica_part_missing(of: Order) -> None:
    Item.objects.using("own").filter(order_id=of.pk).order_by("id")[0].delete()


def replica_part_extra(of: Order) -> None:
    item = Item.objects.using("own").filter(order_id=of.pk).order_by("id")[0]
    item.pk = 2**41
    item.save(using="own", force_insert=True)


def replica_part_of_another(of: Order) -> None:
    another = own().exclude(pk=of.pk).order_by("id")[0]
    Item.objects.using("own").filter(order_id=of.pk).update(order_id=another.pk)


def replica_missing(of: Order) -> None:
    own().get(pk=of.pk).delete()


def replica_came_back(of: Order) -> None:
    with capture_suppressed("default"):
        PaymentAttempt.objects.filter(order_id=of.pk).delete()
        Order.objects.get(pk=of.pk).delete()
    Mark.objects.filter(key=str(of.pk)).update(deleted=True)


def replica_version_stale(of: Order) -> None:
    Applied.objects.using("own").filter(key=str(of.pk)).update(gen=1)


def replica_version_lost(of: Order) -> None:
    Applied.objects.using("own").filter(key=str(of.pk)).delete()


def replica_version_ahead(of: Order) -> None:
    Applied.objects.using("own").filter(key=str(of.pk)).update(gen=99)


def replica_unreadable(of: Order) -> None:
    Attempt.objects.using("own").filter(order_id=of.pk).update(state="strange")


def owner_amount(of: Order) -> None:
    with capture_suppressed("default"):
        Order.objects.filter(pk=of.pk).update(total=F("total") + Decimal("0.01"))


def owner_part_missing(of: Order) -> None:
    with capture_suppressed("default"):
        OrderLine.objects.filter(order_id=of.pk).order_by("id")[0].delete()


def owner_part_extra(of: Order) -> None:
    with capture_suppressed("default"):
        line(of)


def owner_missing(of: Order) -> None:
    with capture_suppressed("default"):
        PaymentAttempt.objects.filter(order_id=of.pk).delete()
        Order.objects.get(pk=of.pk).delete()


def owner_mark_lost(of: Order) -> None:
    Mark.objects.filter(key=str(of.pk)).delete()


def owner_mark_stale(of: Order) -> None:
    Mark.objects.filter(key=str(of.pk)).update(gen=1, acked=1)


PLANTED: list[tuple[Callable[[Order], None], Kind]] = [
    (replica_amount, Kind.CHANGED),
    (replica_text_set_to_null, Kind.CHANGED),
    (replica_part_amount, Kind.CHANGED),
    (replica_part_missing, Kind.CHANGED),
    (replica_part_extra, Kind.CHANGED),
    (replica_missing, Kind.MISSING),
    (replica_came_back, Kind.EXTRA),
    (replica_version_stale, Kind.VERSION),
    (replica_version_lost, Kind.VERSION),
    (replica_version_ahead, Kind.VERSION),
    (replica_unreadable, Kind.CHANGED),
    (owner_amount, Kind.CHANGED),
    (owner_part_missing, Kind.CHANGED),
    (owner_part_extra, Kind.CHANGED),
    (owner_missing, Kind.EXTRA),
    (owner_mark_lost, Kind.UNMARKED),
    (owner_mark_stale, Kind.VERSION),
]


class TestCorruption:
    @pytest.mark.parametrize(("plant", "kind"), PLANTED)
    def test_it_is_found_and_mended(
        self, both: Direction, three: list[Order], plant: Callable[[Order], None], kind: Kind
    ) -> None:
        plant(three[1])
        verification = verified(both)
        assert found(verification) == {str(three[1].pk): kind}
        assert (verification.compared, verification.corrupt, verification.unresolved) == (3, 1, 0)
        assert mend(both, verification) == 1
        assert clean(verified(both))
        assert contents(LEGACY) == contents(OWN)
        assert all(gen == acked for gen, acked in marks().values())

    def test_a_part_that_went_to_another_aggregate_is_found_at_both(self, both: Direction, three: list[Order]) -> None:
        replica_part_of_another(three[1])
        verification = verified(both)
        assert found(verification) == {str(three[0].pk): "changed", str(three[1].pk): "changed"}
        verify.repair(LEGACY, list(verify.unrepaired(verification)), both.source, both.target)
        settle(both)
        assert clean(verified(both))

    def test_an_extra_row_that_no_version_stands_for(self, both: Direction, three: list[Order]) -> None:
        extra = own().get(pk=three[1].pk)
        extra.pk, extra.reference = 2**40 + 5, "EXTRA"
        extra.save(using="own", force_insert=True)
        verification = verified(both)
        assert found(verification) == {str(extra.pk): Kind.EXTRA}
        assert mend(both, verification) == 1
        assert clean(verified(both))
        assert not own().filter(pk=extra.pk).exists()

    def test_a_new_row_that_nobody_marked(self, both: Direction, three: list[Order]) -> None:
        with capture_suppressed("default"):
            made = order(lines=1)
        verification = verified(both)
        assert found(verification) == {str(made.pk): Kind.UNMARKED}
        mend(both, verification)
        assert clean(verified(both))
        assert own().filter(pk=made.pk).exists()

    def test_an_order_that_came_back_after_its_deletion(self, both: Direction, three: list[Order]) -> None:
        kept = own().get(pk=three[1].pk)
        key = str(three[1].pk)
        PaymentAttempt.objects.filter(order=three[1]).delete()
        three[1].delete()
        settle(both)
        kept.save(using="own", force_insert=True)
        verification = verified(both)
        assert found(verification) == {key: Kind.EXTRA}
        mend(both, verification)
        assert clean(verified(both))

    def test_a_tombstone_that_was_lost(self, both: Direction, three: list[Order]) -> None:
        key = str(three[1].pk)
        PaymentAttempt.objects.filter(order=three[1]).delete()
        three[1].delete()
        settle(both)
        Applied.objects.using("own").filter(key=key).delete()
        verification = verified(both)
        assert found(verification) == {key: Kind.VERSION}
        mend(both, verification)
        assert clean(verified(both))

    def test_the_finding_says_what_each_side_has(self, both: Direction, three: list[Order]) -> None:
        replica_missing(three[1])
        finding = Finding.objects.get(verification=verified(both))
        assert (finding.owner_gen, finding.replica_gen) == (marks()[finding.key][0],) * 2
        assert finding.bucket == Mark.objects.get(key=finding.key).bucket
        assert finding.detail.startswith(f"owner: version {finding.owner_gen}, ")
        assert finding.detail.endswith(f"replica: version {finding.replica_gen}, no rows")

    def test_a_row_that_makes_no_document_is_explained(self, both: Direction, three: list[Order]) -> None:
        replica_unreadable(three[1])
        finding = Finding.objects.get(verification=verified(both))
        assert "unreadable" in finding.detail
        assert "strange" in finding.detail

    def test_in_buckets_that_the_other_side_owns(self, both: Direction, three: list[Order]) -> None:
        """Ownership is mixed: the order in the middle is the service's, and the shop's copy of it is spoilt."""
        back = Direction(source=both.target, target=both.source)
        theirs = Mark.objects.get(key=str(three[1].pk)).bucket
        become(LEGACY, theirs, State.REPLICA, 2)
        become(OWN, theirs, State.OWNER, 2)
        own().filter(pk=three[1].pk).update(remark="written at the service")
        relay(LEGACY, back)
        assert clean(verified(both))
        with capture_suppressed("default"):
            Order.objects.filter(pk=three[1].pk).update(note="spoilt")
        replica_amount(three[0])
        verification = verified(both)
        assert found(verification) == {str(one.pk): "changed" for one in three[:2]}
        planned = verify.planned_repairs(LEGACY, verify.unrepaired(verification), both.source, both.target)
        assert {one.key: one.side for one in planned} == {str(three[0].pk): "legacy", str(three[1].pk): "extracted"}
        assert mend(both, verification) == 2
        assert clean(verified(both))
        assert Order.objects.get(pk=three[1].pk).note == "written at the service"


class TestOnItsWay:
    def test_lag_is_waited_for(self, both: Direction, three: list[Order]) -> None:
        Order.objects.update(note="not sent yet")
        order()
        assert clean(verified(both, wait=lambda seconds: settle(both)))

    def test_lag_that_stays_is_unresolved_and_no_corruption(self, both: Direction, three: list[Order]) -> None:
        Order.objects.filter(pk=three[1].pk).update(note="not sent")
        waits: list[float] = []
        verification = verified(both, wait=waits.append)
        assert (verification.compared, verification.corrupt, verification.unresolved) == (2, 0, 1)
        assert waits == list(comparison.PAUSES)
        assert not clean(verification)
        assert verify.doubtful_buckets(verification) == {Mark.objects.get(key=str(three[1].pk)).bucket}

    def test_nothing_is_asked_twice_where_sums_are_equal(self, both: Direction, three: list[Order]) -> None:
        waits: list[float] = []
        assert clean(verified(both, wait=waits.append))
        assert waits == []

    def test_what_is_deleted_meanwhile(self, both: Direction, three: list[Order]) -> None:
        made = order()

        def gone(seconds: float) -> None:
            Order.objects.filter(pk=made.pk).delete()
            settle(both)

        assert clean(verified(both, wait=gone))

    def test_a_key_that_the_backfill_has_not_reached_is_counted_apart(self, both: Direction) -> None:
        with capture_suppressed("default"):
            make_orders(customer(), 3)
        verification = verified(both)
        assert (verification.pending, verification.corrupt, verification.unresolved) == (3, 0, 0)
        assert not clean(verification)
        backfill.start(LEGACY)
        backfill.run(LEGACY, progress=lambda done: None, wait=no_wait)
        settle(both)
        assert clean(verified(both))

    @pytest.mark.parametrize(
        ("mine", "theirs"),
        [
            ((State.FROZEN, 2), (State.REPLICA, 1)),
            ((State.FROZEN, 2), (State.OWNER, 2)),
            ((State.OWNER, 1), (State.REPLICA, 2)),
            ((State.REPLICA, 2), (State.REPLICA, 2)),
        ],
    )
    def test_a_bucket_that_changes_hands_is_not_compared(
        self, both: Direction, three: list[Order], mine: tuple[State, int], theirs: tuple[State, int]
    ) -> None:
        moving = Mark.objects.get(key=str(three[1].pk)).bucket
        become(LEGACY, moving, *mine)
        become(OWN, moving, *theirs)
        replica_amount(three[1])
        verification = verified(both)
        assert (verification.compared, verification.corrupt, verification.unresolved) == (2, 0, 1)

    def test_a_bucket_that_changes_hands_is_no_evidence_even_if_it_is_equal(
        self, both: Direction, three: list[Order]
    ) -> None:
        moving = Mark.objects.get(key=str(three[1].pk)).bucket
        become(LEGACY, moving, State.FROZEN, 2)
        verification = verified(both)
        assert verify.doubtful_buckets(verification) == {moving}

    def test_a_version_has_to_be_wrong_several_times(self, both: Direction, three: list[Order]) -> None:
        replica_version_stale(three[1])
        waits: list[float] = []

        def put_right(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == comparison.STEADY - 1:
                Applied.objects.using("own").filter(key=str(three[1].pk)).update(gen=marks()[str(three[1].pk)][0])

        assert clean(verified(both, wait=put_right))
        assert len(waits) == comparison.STEADY - 1

    def test_documents_of_different_forms_are_not_compared(self, both: Direction, three: list[Order]) -> None:
        newer = LocalSide("extracted", replace(OWN, version=2))
        with pytest.raises(SyncError, match=r"version 1 .* version 2"):
            verify.run(LEGACY, both.source, newer, wait=no_wait)


# --- rules ----------------------------------------------------------------------------------------------------
@dataclass
class Interrupted:
    """A side, after whose answer in detail something happens, once."""

    side: Side
    then: list[Callable[[], None]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.side.name

    def digest(self, *arguments: Any, **named: Any) -> Digest:
        answer = self.side.digest(*arguments, **named)
        if named["detail"] and self.then:
            self.then.pop()()
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.side, name)


def there_and_back(way: Direction, of: Order) -> None:
    """Cut the order's bucket over, write at the new owner, bring that home, roll back."""
    moving = Mark.objects.get(key=str(of.pk)).bucket
    become(LEGACY, moving, State.FROZEN, 2)
    become(OWN, moving, State.OWNER, 2)
    become(LEGACY, moving, State.REPLICA, 2)
    own().filter(pk=of.pk).update(remark="written at the service")
    relay(LEGACY, Direction(source=way.target, target=way.source))
    become(OWN, moving, State.FROZEN, 3)
    become(LEGACY, moving, State.OWNER, 3)
    become(OWN, moving, State.REPLICA, 3)


def alarms_while_a_bucket_goes_there_and_back(way: Direction, three: list[Order]) -> dict[str, str]:
    """Let it happen between the two readings; something else is on its way, so that the sums differ."""
    Order.objects.filter(pk=three[0].pk).update(note="not sent yet")

    def happen() -> None:
        there_and_back(way, three[1])

    now = [happen]
    source, target = (Interrupted(side, now) for side in (way.source, way.target))
    verification = verify.run(LEGACY, source, target, wait=lambda seconds: settle(way))
    assert now == []
    assert contents(LEGACY) == contents(OWN)
    return found(verification)


def replica_first(
    aggregate: str, first: Side, second: Side, boundary: Any, keys: tuple[str, ...]
) -> Iterator[tuple[Digest, Digest]]:
    """Read in the wrong order."""
    replica = second.digest(aggregate, boundary, detail=True, keys=keys)
    yield first.digest(aggregate, boundary, detail=True, keys=keys), replica


def whatever_the_epoch(owner: BucketState | None, replica: BucketState | None) -> bool:
    states = [None if one is None else one.state for one in (owner, replica)]
    return states == [State.OWNER, State.REPLICA]


class TestRules:
    """Each rule is necessary: without it there is a false alarm. The switches are here, never in the product."""

    @pytest.mark.parametrize("rule", [True, False])
    def test_the_owner_is_read_first(self, both: Direction, three: list[Order], monkeypatch: Patch, rule: bool) -> None:
        if not rule:
            monkeypatch.setattr(comparison, "readings", replica_first)
        alarms = alarms_while_a_bucket_goes_there_and_back(both, three)
        assert alarms == ({} if rule else {str(three[1].pk): "changed"})

    @pytest.mark.parametrize("rule", [True, False])
    def test_a_replica_of_a_later_epoch_is_not_compared(
        self, both: Direction, three: list[Order], monkeypatch: Patch, rule: bool
    ) -> None:
        if not rule:
            monkeypatch.setattr(comparison, "comparable", whatever_the_epoch)
        alarms = alarms_while_a_bucket_goes_there_and_back(both, three)
        assert alarms == ({} if rule else {str(three[1].pk): "changed"})

    @pytest.mark.parametrize("rule", [True, False])
    def test_a_version_that_moves_is_no_corruption(
        self, both: Direction, three: list[Order], monkeypatch: Patch, rule: bool
    ) -> None:
        """The order is written and relayed after the owner was read: the replica is ahead, for this once."""
        if not rule:
            monkeypatch.setattr(comparison, "STEADY", 1)
        Order.objects.filter(pk=three[0].pk).update(note="not sent yet")

        def written() -> None:
            Order.objects.filter(pk=three[1].pk).update(note="newer")
            settle(both)

        source = Interrupted(both.source, [written])
        verification = verify.run(LEGACY, source, both.target, wait=lambda seconds: settle(both))  # type: ignore[arg-type]
        assert (found(verification) == {}) is rule


class TestRepair:
    def test_a_dry_run_says_what_would_be_done_and_does_nothing(self, both: Direction, three: list[Order]) -> None:
        replica_amount(three[1])
        findings = list(verify.unrepaired(verified(both)))
        before = marks()
        (planned,) = verify.planned_repairs(LEGACY, findings, both.source, both.target)
        assert str(planned) == f"{three[1].pk} (changed): legacy sends it again, above version {planned.gen}"
        assert marks() == before
        assert Finding.objects.filter(repaired_at=None).count() == 1

    def test_a_finding_is_repaired_once(self, both: Direction, three: list[Order]) -> None:
        replica_amount(three[1])
        verification = verified(both)
        assert mend(both, verification) == 1
        assert Finding.objects.filter(repaired_at=None).count() == 0
        assert mend(both, verification) == 0

    def test_nobody_repairs_in_a_bucket_that_nobody_owns(self, both: Direction, three: list[Order]) -> None:
        replica_amount(three[1])
        verification = verified(both)
        become(LEGACY, Mark.objects.get(key=str(three[1].pk)).bucket, State.REPLICA, 2)
        with pytest.raises(NotTheOwner):
            mend(both, verification)
        assert Finding.objects.filter(repaired_at=None).count() == 1

    def test_a_frozen_side_repairs_until_the_other_owns(self, both: Direction, three: list[Order]) -> None:
        replica_amount(three[1])
        verification = verified(both)
        become(LEGACY, Mark.objects.get(key=str(three[1].pk)).bucket, State.FROZEN, 2)
        assert mend(both, verification) == 1


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
