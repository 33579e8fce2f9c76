from collections.abc import Iterator

import pytest

from migrations_plan import api, plan_registry
from migrations_plan.builders import monolith, shared
from migrations_plan.plan import Plan
from tests.migrations_plan.fakes import FakeMeasurements, plenty


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch) -> FakeMeasurements:
    """Give the public API measurements set by hand, with which every gate passes."""
    measurements = plenty()
    monkeypatch.setattr(api, "RouterMeasurements", lambda: measurements)
    return measurements


@pytest.fixture
def orders_plan() -> Iterator[Plan]:
    """Register the standard plan for the service ``orders``, and no other."""
    plan = Plan(service="orders", phases=(monolith(), shared()))
    with plan_registry.replaced(plan):
        yield plan
