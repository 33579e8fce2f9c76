"""The numbers of events as an aggregate that changes hands together with what the events tell of."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error

from migrations_plan.sync.aggregates import Aggregate, Rows, declared
from migrations_plan.sync.fields import Column
from migrations_plan.sync.keys import without_leader

MODEL = "strangler_events.TravellingSequence"
SETTING = "STRANGLER_EVENTS"


def travelling_numbers(service: str) -> Aggregate:
    """Return the aggregate of the numbers of a service's events, to be registered on both sides: ``orders.numbers``.

    Without it, an aggregate's events begin to count anew in its new home, and those who receive them cannot tell which
    came first. Its rows know their buckets, which are the service's.
    """
    return Aggregate(
        name=f"{service}.numbers",
        moves_with=service,
        partition_key="key",
        bucket="bucket",
        root=Rows(model=MODEL, fields=tuple(Column(name) for name in ("aggregate", "key", "bucket", "last", "types"))),
    )


def check_travelling_numbers(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check that the numbers that are kept to travel are declared, and that those that are declared are kept."""
    given = getattr(settings, SETTING, {})
    kept = given.get("TRAVELS", {}) if isinstance(given, dict) else {}
    groups = set(kept.values()) if isinstance(kept, dict) else set()
    found = declared()
    numbers = [aggregate for aggregate in found if aggregate.root.model.lower() == MODEL.lower()]
    return [*_problems(groups, numbers), *without_leader(numbers, {aggregate.name for aggregate in found})]


def _problems(groups: set[Any], numbers: Sequence[Aggregate]) -> Iterator[CheckMessage]:
    for group in sorted(groups - {one.moves_with for one in numbers}):
        yield Error(
            f"{SETTING}['TRAVELS'] names {group!r}, and no aggregate takes the numbers of its events along.",
            hint=f"In strangler.py: register(travelling_numbers({group!r})), from migrations_plan.sync.numbers.",
            id="strangler_sync.E014",
        )
    for one in numbers:
        if not apps.is_installed("migrations_plan.sync.events"):
            yield Error(
                f"The aggregate {one.name} needs the app migrations_plan.sync.events.",
                hint="Add it to INSTALLED_APPS.",
                id="strangler_sync.E015",
            )
        elif one.moves_with not in groups:
            yield Error(
                f"The aggregate {one.name} is declared, and no event's number is kept to travel with {one.moves_with}.",
                hint=f"Set {SETTING}['TRAVELS'] to {{'<service>.<aggregate>': {one.moves_with!r}}}, on both sides.",
                id="strangler_sync.E015",
            )
