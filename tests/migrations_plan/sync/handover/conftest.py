"""Only orders change hands here: what moves with them is in other tests."""

from collections.abc import Iterator

import pytest

from migrations_plan.sync.aggregates import replaced
from tests.migrations_plan.sync.houses import LEGACY


@pytest.fixture(autouse=True)
def orders_alone() -> Iterator[None]:
    with replaced(LEGACY):
        yield
