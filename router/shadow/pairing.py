"""Which element of one array belongs to which of another."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

MOST = 200
"""Elements of an array that are looked at one against the other; in a longer one only what is equal is paired."""


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

    Equal elements are paired first, which is all there is to do mostly. An element may agree with several (tolerances),
    so that taking the first that agrees could rob another of its only partner: augmenting paths find the most pairs.
    """
    taken = _equals(left, right)
    paired = set(taken.values())
    here = [one for one in range(len(left)) if one not in paired]
    there = [other for other in range(len(right)) if other not in taken]
    if not here or not there or len(left) > MOST or len(right) > MOST:
        return here, there
    every = range(len(right))
    here = [one for one in here if not _augment(one, every, lambda a, b: agrees(left[a], right[b]), taken, set())]
    return here, [other for other in every if other not in taken]


def _equals(left: Sequence[Any], right: Sequence[Any]) -> dict[int, int]:
    """Return the positions of elements that are equal, those of the left by those of the right."""
    waiting: dict[str, deque[int]] = {}
    for position, element in enumerate(left):
        waiting.setdefault(_canonical(element), deque()).append(position)
    found = {}
    for position, element in enumerate(right):
        equal = waiting.get(_canonical(element))
        if equal:
            found[position] = equal.popleft()
    return found


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
