"""Work that was begun and has not ended, by bucket: a change of hands waits until there is none."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

CountIntents: TypeAlias = Callable[[Collection[int]], Mapping[int, int]]
"""Given buckets, return how many intents are open in each; buckets without one may be left out."""

_counters: dict[str, dict[str, CountIntents]] = {}


def register(aggregate: str, kind: str, count: CountIntents) -> None:
    """Say how to count the open intents of one kind ("saga", "payment attempt") that a change of hands waits for."""
    _counters.setdefault(aggregate, {})[kind] = count


def forget(aggregate: str, kind: str) -> None:
    """Count this kind no more."""
    _counters.get(aggregate, {}).pop(kind, None)


def open_intents(aggregate: str, buckets: Collection[int]) -> Mapping[int, int]:
    """Return how many intents of all kinds are open in each of the buckets."""
    total: Counter[int] = Counter()
    for count in _counters.get(aggregate, {}).values():
        total.update(count(buckets))
    return total
