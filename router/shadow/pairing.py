"""Which element of one array belongs to which of another."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

MOST = 100
"""Elements without an equal that are looked at one against the other; beyond that they are paired as they stand."""


class Keyed(NamedTuple):
    """What an element is paired by: its key, and which one with that key it is."""

    value: Any
    kind: str
    """The key's type: ``1`` and ``"1"`` are two keys."""
    nth: int


def by_key(elements: Sequence[Any], key: str) -> dict[Keyed, Any]:
    """Return elements by a field of theirs; those without one are told apart by their order."""
    seen: Counter[tuple[str, str]] = Counter()
    found: dict[Keyed, Any] = {}
    for element in elements:
        value = element.get(key) if isinstance(element, dict) else None
        kind, spelled = type(value).__name__, repr(value)
        found[Keyed(value if isinstance(value, int | str) else spelled, kind, seen[kind, spelled])] = element
        seen[kind, spelled] += 1
    return found


def pairs(left: Sequence[Any], right: Sequence[Any], agrees: Callable[[Any, Any], bool]) -> tuple[list[int], list[int]]:
    """Return the positions on either side that no pairing can give a partner that agrees.

    Equal elements are paired first. Among the rest each may agree with several (tolerances), so that taking the first
    that agrees could rob another of its only partner: augmenting paths find the most pairs there can be.
    """
    here, there = _without_equals(left, right)
    if len(here) > MOST or len(there) > MOST:
        return here, there
    taken: dict[int, int] = {}
    unpaired = [one for one in here if not _augment(one, there, lambda a, b: agrees(left[a], right[b]), taken, set())]
    return unpaired, [other for other in there if other not in taken]


def _without_equals(left: Sequence[Any], right: Sequence[Any]) -> tuple[list[int], list[int]]:
    waiting: dict[str, deque[int]] = {}
    for position, element in enumerate(right):
        waiting.setdefault(_canonical(element), deque()).append(position)
    here = []
    for position, element in enumerate(left):
        found = waiting.get(_canonical(element))
        if found:
            found.popleft()
        else:
            here.append(position)
    return here, sorted(position for found in waiting.values() for position in found)


def _canonical(element: Any) -> str:
    """Return a text that is the same for equal elements, whatever the order of their names."""
    if isinstance(element, dict):
        return f"{{{','.join(f'{name!r}:{_canonical(element[name])}' for name in sorted(element))}}}"
    if isinstance(element, list):
        return f"[{','.join(map(_canonical, element))}]"
    return repr(element)


def _augment(
    one: int, others: Sequence[int], agrees: Callable[[int, int], bool], taken: dict[int, int], tried: set[int]
) -> bool:
    for other in others:
        if other in tried or not agrees(one, other):
            continue
        tried.add(other)
        if other not in taken or _augment(taken[other], others, agrees, taken, tried):
            taken[other] = one
            return True
    return False


def closest(
    left: Sequence[Any],
    right: Sequence[Any],
    here: Sequence[int],
    there: Sequence[int],
    apart: Callable[[Any, Any], int],
) -> Iterator[tuple[int | None, int | None]]:
    """Yield what is left over in pairs that are most alike, and alone what has no partner."""
    open_there = list(there)
    for one in here:
        if not open_there:
            yield one, None
            continue
        bounded = open_there[:MOST] if len(here) <= MOST else open_there[:1]
        best = min(bounded, key=lambda other: apart(left[one], right[other]))
        open_there.remove(best)
        yield one, best
    for other in open_there:
        yield None, other
