"""Both sides in one process: the shop's database and the orders service's own."""

from collections.abc import Iterator

import pytest

from legacy_shop.orders.models import Order
from migrations_plan.sync import aggregates, operate, tasks
from migrations_plan.sync.capture import upkeep
from migrations_plan.sync.local import LocalSide
from migrations_plan.sync.models import Ownership
from migrations_plan.sync.sides import Direction
from tests.migrations_plan.sync.houses import LEGACY, OWN, as_extracted, attempt, order, settle
from tests.migrations_plan.sync.verifying import customers_of_three_buckets


@pytest.fixture(autouse=True)
def declared() -> Iterator[None]:
    """Let the shop's orders be the only aggregate; a test that needs more says so."""
    with aggregates.replaced(LEGACY):
        yield


@pytest.fixture(autouse=True)
def no_triggers_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Take the triggers away again after a test that commits; those of all others are rolled back."""
    marker = request.node.get_closest_marker("django_db")
    commits = marker.kwargs.get("transaction") if marker else False
    if commits:
        request.getfixturevalue("transactional_db")  # emptied after this
    yield
    for side in (LEGACY, OWN) if commits else ():
        if side.alias in marker.kwargs.get("databases", ["default"]) and upkeep.installed(side):
            upkeep.stop(side)


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
