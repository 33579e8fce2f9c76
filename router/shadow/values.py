"""Compare two JSON values by the rules of their route."""

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, NoReturn

from router.comparing.rules import NO_RULES, Rules
from router.shadow.difference import Difference, Place
from router.shadow.pairing import by_key, closest, pairs

ROOT = Place()


class NotJson(ValueError):
    """A body says it is JSON and is not, or not of the kind that every reader takes for the same."""


def parse(body: bytes) -> Any:
    """Return a JSON document, its numbers exactly as they stand there."""
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_object)
    except RecursionError as bottomless:
        raise NotJson("nobody gets to the bottom of it") from bottomless


def _refuse(constant: str) -> NoReturn:
    raise NotJson(f"{constant} is no JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotJson("an object has a name twice")
    return found


def compare_values(legacy: Any, extracted: Any, rules: Rules = NO_RULES, at: Place = ROOT) -> Iterator[Difference]:
    """Yield where two JSON values differ; ``1``, ``true``, ``"1"`` and ``1.0`` are four different things."""
    here = rules.at(at.steps)
    if here.ignored:
        return
    if here.normalise is not None:
        legacy, extracted = here.normalise(legacy), here.normalise(extracted)
    if here.tolerance is not None and here.tolerance.allows(legacy, extracted):
        return
    if type(legacy) is not type(extracted):
        yield at.differs("type", legacy, extracted)
    elif isinstance(legacy, dict):
        yield from _objects(legacy, extracted, rules, at)
    elif isinstance(legacy, list):
        yield from _arrays(legacy, extracted, rules, at)
    elif legacy != extracted:
        yield at.differs("value", legacy, extracted)


def same(legacy: Any, extracted: Any, rules: Rules, at: Place) -> bool:
    """Return whether two values agree by the rules."""
    return next(compare_values(legacy, extracted, rules, at), None) is None


def _objects(legacy: dict[str, Any], extracted: dict[str, Any], rules: Rules, at: Place) -> Iterator[Difference]:
    for name, value in legacy.items():
        place = at.name(name)
        if name in extracted:
            yield from compare_values(value, extracted[name], rules, place)
        elif not rules.ignores(place.steps):
            yield place.differs("missing", legacy=value)
    for name, value in extracted.items():
        if name not in legacy and not rules.ignores((place := at.name(name)).steps):
            yield place.differs("extra", extracted=value)


def _arrays(legacy: list[Any], extracted: list[Any], rules: Rules, at: Place) -> Iterator[Difference]:
    here = rules.at(at.steps)
    if here.key is not None:
        yield from _keyed(legacy, extracted, rules, at, here.key)
    elif here.unordered:
        yield from _unordered(legacy, extracted, rules, at)
    else:
        for position, (left, right) in enumerate(zip(legacy, extracted, strict=False)):
            yield from compare_values(left, right, rules, at.position(position))
    if len(legacy) != len(extracted):
        yield at.differs("length", len(legacy), len(extracted))


def _keyed(legacy: list[Any], extracted: list[Any], rules: Rules, at: Place, key: str) -> Iterator[Difference]:
    """Compare elements with the same key; of several with one key the first with the first."""
    left, right = by_key(legacy, key), by_key(extracted, key)
    for name, element in left.items():
        place = at.keyed(key, name.value)
        if name in right:
            yield from compare_values(element, right[name], rules, place)
        elif not rules.ignores(place.steps):
            yield place.differs("missing", legacy=element)
    for name, element in right.items():
        if name not in left and not rules.ignores((place := at.keyed(key, name.value)).steps):
            yield place.differs("extra", extracted=element)
    if not rules.at(at.steps).unordered:
        orders = [name.value for name in left if name in right], [name.value for name in right if name in left]
        if orders[0] != orders[1]:
            yield at.differs("order", *orders)


def _unordered(legacy: list[Any], extracted: list[Any], rules: Rules, at: Place) -> Iterator[Difference]:
    """Pair what agrees, wherever it stands; of what is left over, say where it differs from what is most like it."""
    element = at.position(0)

    def agrees(left: Any, right: Any) -> bool:
        return same(left, right, rules, element)

    def apart(left: Any, right: Any) -> int:
        return len(list(islice(compare_values(left, right, rules, element), MOST_APART)))

    alone, others = pairs(legacy, extracted, agrees)
    for here, there in closest(legacy, extracted, alone, others, apart):
        yield from _left_over(legacy, extracted, rules, at, (here, there))


def _left_over(
    legacy: Sequence[Any], extracted: Sequence[Any], rules: Rules, at: Place, pair: tuple[int | None, int | None]
) -> Iterator[Difference]:
    here, there = pair
    if here is not None and there is not None:
        yield from compare_values(legacy[here], extracted[there], rules, at.position(here))
    elif here is not None:
        yield at.position(here).differs("missing", legacy=legacy[here])
    elif there is not None:
        yield at.position(there).differs("extra", extracted=extracted[there])


MOST_APART = 20
"""Elements that differ in more places than this are all equally unlike."""
