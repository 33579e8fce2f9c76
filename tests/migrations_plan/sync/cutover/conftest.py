from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from migrations_plan import api, lease, plan_registry
from migrations_plan.executor import Executor
from migrations_plan.runs import Progress
from migrations_plan.sync import aggregates, backfill, operate
from migrations_plan.sync.handover import moving
from migrations_plan.sync.sides import Direction
from migrations_plan.testing import stand_at
from tests.migrations_plan.fakes import executor, plenty
from tests.migrations_plan.sync.cutover.hands import PLAN, Real
from tests.migrations_plan.sync.houses import LEGACY, order


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Let this be the plan of orders, and the shop's the only aggregate."""
    with plan_registry.replaced(PLAN), aggregates.replaced(LEGACY):
        yield


@pytest.fixture(autouse=True)
def unrenewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave leases as they are: on SQLite, who renews one waits for the transaction that the whole test is in."""
    monkeypatch.setattr(lease, "RENEWALS", 0.01)


@pytest.fixture
def sides(joined: Direction, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let both sides be in this process, with orders that were sent and compared; the plan is at separate.shadow."""
    found: dict[str, Any] = {"legacy": joined.source, "extracted": joined.target}
    monkeypatch.setattr(moving, "both_sides", lambda name: found)
    for _ in range(12):
        order(lines=1)
    backfill.start(LEGACY)
    backfill.run(LEGACY, progress=lambda done: None, wait=lambda seconds: None)
    while not operate.run_once("orders").idle:
        pass
    assert operate.run_verification("orders", lambda text: None).clean
    stand_at("orders", "separate.shadow")
    return found


@pytest.fixture
def said() -> list[Progress]:
    """Return what was said on the way."""
    return []


@pytest.fixture
def mover(sides: Any, said: list[Progress]) -> Executor:
    """Return what moves orders, with gates that pass."""
    return executor(PLAN, Real(**vars(plenty())), progress=said.append, lease=timedelta(minutes=10))


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch) -> Real:
    """Give the public API numbers with which every gate passes, and what is really owned."""
    measurements = Real(**vars(plenty()))
    monkeypatch.setattr(api, "RouterMeasurements", lambda: measurements)
    return measurements
