"""What a side can say about whether it may own buckets: whether it sees each change, and which keys it mints."""

from migrations_plan.sync import ids
from migrations_plan.sync.aggregates import Aggregate, members
from migrations_plan.sync.capture import install, upkeep
from migrations_plan.sync.messages import Fitness, Mint


def of(aggregate: Aggregate) -> Fitness:
    """Return what keeps this side from owning buckets of an aggregate and of those that move with it."""
    together = {one.name: one for one in (aggregate, *members(aggregate.group))}
    problems = [problem for _, one in sorted(together.items()) for problem in _problems(one)]
    mints = tuple(Mint(part=one.part, first=one.first, next=one.next) for one in ids.next_ids(aggregate))
    return Fitness(problems=tuple(problems), mints=mints)


def _problems(aggregate: Aggregate) -> list[str]:
    if not upkeep.installed(aggregate):
        return [f"The triggers of {aggregate.name} are not installed, so nobody would see its changes."]
    wrong = [f"{one.name} ({one.health})" for one in install.status(aggregate) if not one.works]
    return [f"Triggers of {aggregate.name} are not as they have to be: {', '.join(wrong)}."] if wrong else []
