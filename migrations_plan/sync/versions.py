"""Versions as the router uses them: what was written on this side, and what has arrived of the other side's."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from migrations_plan.sync.aggregates import Aggregate, declared
from migrations_plan.sync.models import Applied, Mark

Key = tuple[str, str]
"""An aggregate's name, and the key of one of them as text."""


def noted(keys: Iterable[Key]) -> Mapping[Key, int]:
    """Return the versions of these aggregates as this side has noted them; what is not captured has none.

    To be named in ``STRANGLER_SERVICE["VERSIONS"]`` of a service that has a store of its own.
    """
    found: dict[Key, int] = {}
    for aggregate, wanted in _by_aggregate(keys):
        marks = Mark.objects.using(aggregate.alias).filter(aggregate=aggregate.name, key__in=wanted)
        found |= {(aggregate.name, key): gen for key, gen in marks.values_list("key", "gen")}
    return found


def arrived(written: Mapping[Key, int]) -> bool:
    """Return whether these versions of the other side's, or later ones, were applied here."""
    for aggregate, wanted in _by_aggregate(written):
        rows = Applied.objects.using(aggregate.alias).filter(aggregate=aggregate.name, key__in=wanted)
        applied = dict(rows.values_list("key", "gen"))
        if any(applied.get(key, 0) < written[aggregate.name, key] for key in wanted):
            return False
    return True


def _by_aggregate(keys: Iterable[Key]) -> list[tuple[Aggregate, list[str]]]:
    """Sort keys by what they belong to, without what this side does not know."""
    wanted: defaultdict[str, list[str]] = defaultdict(list)
    for name, key in keys:
        wanted[name].append(key)
    return [(one, wanted[one.name]) for one in declared() if one.name in wanted]
