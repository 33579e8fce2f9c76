"""Which buckets the steps of a plan want at the service, and which are there."""

from collections.abc import Iterator
from itertools import chain

from migrations_plan.gates import Measurements
from migrations_plan.plan import Plan, Step
from migrations_plan.standing import Owners
from migrations_plan.sync_operations import MoveBuckets


def moved_by(step: Step) -> Iterator[MoveBuckets]:
    """Yield the operations of a step that move buckets."""
    for operation in step.operations:
        if isinstance(operation, MoveBuckets):
            yield operation


def wanted_at(plan: Plan, name: str) -> dict[str, int]:
    """Return, for each aggregate that the plan moves, how many buckets it wants at the service in a step."""
    wanted = dict.fromkeys((one.aggregate for step in plan.steps for one in moved_by(step)), 0)
    if name in plan.names:
        reached = plan.steps[: plan.index(name) + 1]
        wanted |= {one.aggregate: one.percent for one in chain.from_iterable(map(moved_by, reached))}
    return wanted


def owners_of(plan: Plan, name: str, measurements: Measurements) -> tuple[Owners, ...]:
    """Return who owns the buckets of what the plan moves, next to what a step wants; nothing where nobody noted it."""
    wanted = wanted_at(plan, name)
    found = [(aggregate, measurements.sync(aggregate)) for aggregate in wanted]
    return tuple(Owners.of(aggregate, wanted[aggregate], standing) for aggregate, standing in found if standing.owners)
