"""Only orders change hands here: what moves with them is in other tests."""

from collections.abc import Iterator

import pytest

from legacy_shop.orders.models import Order
from migrations_plan.sync.aggregates import replaced
from migrations_plan.sync.sides import Direction
from tests.migrations_plan.sync.handover import hands
from tests.migrations_plan.sync.handover.hands import Sides
from tests.migrations_plan.sync.houses import LEGACY, order


@pytest.fixture(autouse=True)
def orders_alone() -> Iterator[None]:
    with replaced(LEGACY):
        yield


@pytest.fixture
def sides(both: Direction) -> Sides:
    hands.backfilled()
    return hands.sides_of(both)


@pytest.fixture
def made(sides: Sides) -> Order:
    """Make an order, of which the service knows nothing yet."""
    return order(lines=2, note="first")
