"""What is only on its way is never taken for corruption, and each rule that sees to it is necessary."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from legacy_shop.orders.models import Order
from migrations_plan.sync import backfill, comparison, verify
from migrations_plan.sync.database import capture_suppressed
from migrations_plan.sync.errors import SyncError
from migrations_plan.sync.local import LocalSide
from migrations_plan.sync.messages import BucketState, Digest, Side, State
from migrations_plan.sync.models import Applied, Mark
from migrations_plan.sync.relay import relay
from migrations_plan.sync.sides import Direction
from tests.migrations_plan.sync.corrupting import own, replica_amount, replica_version_stale
from tests.migrations_plan.sync.houses import (
    LEGACY,
    OWN,
    become,
    contents,
    customer,
    marks,
    order,
    settle,
)
from tests.migrations_plan.sync.verifying import Interrupted, clean, found, no_wait, verified
from tests.own.rows import make_orders

pytestmark = pytest.mark.django_db(databases=["default", "own"])


Patch = pytest.MonkeyPatch


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
