"""Which versions were written here, and which of the other side's have arrived: what a router goes by."""

from collections.abc import Mapping

import pytest

from migrations_plan.source import PlanSnapshotSource
from migrations_plan.sync import aggregates, operate, sides, versions
from migrations_plan.sync.buckets import BUCKETS, bucket
from migrations_plan.sync.messages import State
from migrations_plan.sync.models import Ownership
from migrations_plan.sync.sides import Direction
from router.handover.own_writes import AppliedSource
from router.shadow.following import FollowingSource
from tests.migrations_plan.sync.houses import OWN, order, read

pytestmark = pytest.mark.django_db(databases=["default", "own"])


def test_a_change_is_noted_at_once_and_arrives_with_the_relay(joined: Direction) -> None:
    """Seen from one process; each side asks its own database."""
    made = order()
    made.note = "changed"
    made.save()
    key = ("orders", str(made.pk))
    written = versions.noted([key, ("orders", "0"), ("users", "1")])
    assert written == {key: 2}
    (document,) = read(joined)
    assert document.gen == 2
    assert not arrived_there(written)
    operate.relay_once("orders")
    assert arrived_there(written)
    assert not arrived_there({key: 3})


def arrived_there(written: Mapping[tuple[str, str], int]) -> bool:
    with aggregates.replaced(OWN):
        return versions.arrived(written)


def test_a_bucket_is_behind_until_its_change_has_arrived(joined: Direction, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sides, "here", lambda: joined.source)
    monkeypatch.setattr(sides, "there", lambda name: joined.target)
    source = PlanSnapshotSource()
    assert isinstance(source, FollowingSource)
    made = order()
    here, elsewhere = bucket("orders", made.customer_id), (bucket("orders", made.customer_id) + 1) % BUCKETS
    assert (source.is_behind("orders", here), source.is_behind("orders", elsewhere)) == (True, False)
    operate.relay_once("orders")
    assert not source.is_behind("orders", here)
    Ownership.objects.filter(aggregate="orders", bucket=here).update(state=State.FROZEN)
    assert source.is_behind("orders", here)
    Ownership.objects.filter(aggregate="orders", bucket=here).update(state=State.REPLICA)
    assert not source.is_behind("orders", here)
    assert not source.is_behind("users", here)


def test_nothing_written_has_arrived(joined: Direction) -> None:
    assert versions.arrived({})
    assert versions.arrived({("unknown", "1"): 5})


def test_the_plan_tells_the_router(joined: Direction) -> None:
    source = PlanSnapshotSource()
    assert isinstance(source, AppliedSource)
    assert not source.arrived({("orders", "17"): 1})
