"""Aggregates that change hands together stand as badly as the worst of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from migrations_plan.standing import BackfillProgress, SyncStanding, Verified, Way, of_group, verified_together

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
OUT = "legacy->extracted"
ORDERS = SyncStanding(
    captured=True,
    backfill=BackfillProgress(marked=10, total=10, finished=True),
    ways=(Way(name=OUT, waiting=1, lag_p99=0.5, lag_samples=40),),
    owners={"owner": 100},
)
KEYS = SyncStanding(
    captured=True,
    backfill=BackfillProgress(marked=3, total=5, finished=False),
    ways=(Way(name=OUT, waiting=2, held=1, oldest_seconds=3.0, lag_p99=0.7, lag_samples=2),),
    parked=1,
    owners={"owner": 100},
)
COMPARED = Verified(started_at=NOON, finished_at=NOON + timedelta(seconds=9), compared=50, corrupt=0, unresolved=0)


def test_one_stands_for_itself() -> None:
    assert of_group([KEYS]) is KEYS


def test_two() -> None:
    found = of_group([ORDERS, KEYS])
    assert found.captured
    assert found.backfill == BackfillProgress(marked=13, total=15, finished=False)
    assert found.way(OUT) == Way(name=OUT, waiting=3, held=1, oldest_seconds=3.0, lag_p99=0.7, lag_samples=42)
    assert (found.parked, found.owners) == (1, {"owner": 100})


@pytest.mark.parametrize("order", [1, -1])
def test_one_that_is_not_captured(order: int) -> None:
    bare = SyncStanding(missing_triggers=("t",), ways=(Way(name=OUT),))
    found = of_group([ORDERS, bare][::order])
    assert (found.captured, found.missing_triggers, found.backfill) == (False, ("t",), None)
    way = found.way(OUT)
    assert way is not None
    assert (way.lag_p99, way.lag_samples) == (0.5, 40)


def test_compared_is_what_the_leader_has() -> None:
    earlier = replace(
        COMPARED,
        started_at=NOON - timedelta(hours=1),
        finished_at=NOON - timedelta(minutes=50),
        compared=7,
        corrupt=1,
        unresolved=2,
    )
    assert verified_together([COMPARED, earlier]) == replace(earlier, compared=50)
    assert verified_together([COMPARED]) == COMPARED
    assert verified_together([COMPARED, None]) is None
