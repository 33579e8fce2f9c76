"""Both sides in one process: the shop's database and the orders service's own."""

import pytest

from migrations_plan.sync import operate, tasks
from migrations_plan.sync.capture import upkeep
from migrations_plan.sync.local import LocalSide
from migrations_plan.sync.sides import Direction
from tests.migrations_plan.sync.houses import LEGACY, OWN, as_extracted


@pytest.fixture
def captured(db: None) -> None:
    """Install the triggers in the shop's database."""
    upkeep.start(LEGACY)


@pytest.fixture
def both(captured: None) -> Direction:
    """Install sync on both sides and give the way from the shop to the service."""
    with as_extracted():
        upkeep.start(OWN)
    return Direction(source=LocalSide("legacy", LEGACY), target=LocalSide("extracted", OWN))


@pytest.fixture
def joined(both: Direction, monkeypatch: pytest.MonkeyPatch) -> Direction:
    """Let tasks and commands reach both sides in this process; no network is in between."""
    ways = (both, Direction(source=both.target, target=both.source))
    for module in (tasks, operate):
        monkeypatch.setattr(module, "directions", lambda name: ways)
    return both
