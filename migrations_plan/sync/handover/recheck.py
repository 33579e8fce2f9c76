"""Compare once more what was changed last, while nobody writes: what no trigger sees may have changed it since."""

from collections.abc import Callable, Mapping

from migrations_plan.sync.aggregates import Aggregate, members
from migrations_plan.sync.handover.coordinator import NotYet
from migrations_plan.sync.handover.preflight import last_keys
from migrations_plan.sync.messages import Boundary, Side

ALL = Boundary()


def rechecked(aggregate: Aggregate, sides: Mapping[str, Side]) -> Callable[[int], None]:
    """Return what compares the aggregates of a bucket that were changed last, and raises NotYet if the sides differ."""

    def compare(bucket: int) -> None:
        for one in members(aggregate.group) or (aggregate,):
            keys = last_keys(one, [bucket])
            different = _different(one.name, keys, sides) if keys else ()
            if different:
                raise NotYet(
                    f"{one.name} {different[0]} differs between the sides although all has arrived. "
                    f"`sync verify {one.name} --repair` mends it."
                )

    return compare


def _different(name: str, keys: tuple[str, ...], sides: Mapping[str, Side]) -> tuple[str, ...]:
    first, second = (
        {entry.key: entry.digest for entry in side.digest(name, ALL, detail=True, keys=keys).entries or ()}
        for side in sides.values()
    )
    return tuple(sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key)))
