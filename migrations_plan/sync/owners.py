"""Who owns which buckets, on both sides; what coming home would lose; ending what is in between."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any, TypeAlias

from django.utils import timezone

from migrations_plan.sync import ownership, verify
from migrations_plan.sync.aggregates import Aggregate, find, members
from migrations_plan.sync.conf import SIDES, conf
from migrations_plan.sync.errors import SyncError
from migrations_plan.sync.handover import audit, goals, moving
from migrations_plan.sync.handover.preflight import CHECKS, Asked
from migrations_plan.sync.messages import BucketState, State
from migrations_plan.sync.models import Ownership

LEGACY, EXTRACTED = SIDES
HELD_WINDOW = timedelta(hours=24)
"""Over how long it is told for how long buckets were held."""
LOSING = ("triggers", "backfill", "queue")
"""What has to hold before buckets go home, since data would be lost otherwise; the rest is for the way out."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """Buckets in a row that have the same owner, in the same epochs."""

    first: int
    last: int
    owner: str
    """``legacy``, ``extracted``, or ``nobody`` while the buckets change hands."""
    goal: str
    """Who is to own them, where somebody said and it is not so yet."""
    sides: Mapping[str, str]
    """What each side is to them, and in which epoch: ``owner 3``; empty where a side was not asked."""


@dataclass(frozen=True, kw_only=True)
class Owners:
    """Who owns the buckets of an aggregate, as both sides say."""

    aggregate: str
    ranges: tuple[Range, ...]
    between: tuple[int, ...]
    """Buckets that a coordinator has to go on with."""
    held: audit.Held
    """For how long those that changed hands lately could not be written."""
    away: str = ""
    """Why the other side did not say; empty if it did."""

    def count(self, owner: str) -> int:
        """Return how many buckets an owner has."""
        return sum(one.last - one.first + 1 for one in self.ranges if one.owner == owner)

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        totals = {owner: self.count(owner) for owner in (LEGACY, EXTRACTED, NOBODY)}
        return {**asdict(self), "buckets": totals}


NOBODY = "nobody"
_Known: TypeAlias = Mapping[str, Mapping[int, BucketState]]
_Row: TypeAlias = tuple[str, str, tuple[tuple[str, str], ...]]


def owners(name: str) -> Owners:
    """Return who owns which bucket, as both sides say; where the other one is away, as this side knows."""
    aggregate, away = find(name), ""
    mine = conf().side
    states: _Known
    try:
        sides = moving.both_sides(name).items()
        states = {side_name: {one.bucket: one for one in side.ownership(name)} for side_name, side in sides}
    except SyncError as problem:
        away = str(problem)
        states = {LEGACY: {}, EXTRACTED: {}, mine: {one.bucket: one for one in ownership.states(aggregate)}}
    wanted = goals.goals(aggregate, goals.unreached(aggregate))
    rows = [(bucket, _row(states, mine, bucket, wanted.get(bucket, ""))) for bucket in sorted(states[mine])]
    frozen = {bucket for side in states.values() for bucket, one in side.items() if one.state is State.FROZEN}
    return Owners(
        aggregate=name,
        ranges=tuple(_ranges(rows)),
        between=tuple(sorted(frozen | set(wanted))),
        held=held_lately(aggregate),
        away=away,
    )


def between_here(aggregate: Aggregate) -> tuple[int, ...]:
    """Return the buckets that are in between, as far as this side can tell."""
    rows = Ownership.objects.using(aggregate.alias).filter(aggregate=aggregate.group, state=State.FROZEN)
    return tuple(sorted(_unreached(aggregate) | set(rows.values_list("bucket", flat=True))))


def owns_elsewhere(aggregate: Aggregate) -> bool:
    """Return whether the other side owns any bucket, as far as this side can tell."""
    return any(one.state is State.REPLICA for one in ownership.states(aggregate))


def held_lately(aggregate: Aggregate) -> audit.Held:
    """Return for how long buckets that changed hands lately could not be written."""
    return audit.held_since(aggregate, timezone.now() - HELD_WINDOW)


def resume(name: str, *, dry_run: bool = False) -> tuple[int, ...]:
    """End what is in between; return the buckets that were, or with ``dry_run`` those that are."""
    return moving.in_between(name) if dry_run else moving.resume(name)


def still_at_legacy(name: str, buckets: Collection[int]) -> tuple[int, ...]:
    """Return those of the buckets that have not gone to the service, as far as this side can tell."""
    aggregate = find(name)
    gone = {one.bucket for one in ownership.states(aggregate) if one.state is State.REPLICA}
    return tuple(sorted(set(buckets) - (gone - _unreached(aggregate))))


def not_at_home(name: str, buckets: Collection[int]) -> tuple[int, ...]:
    """Return those of the buckets that legacy does not own, or not wholly; asks this side only.

    A row that says owner cannot be wrong: the other side would have had to become it with this row frozen.
    """
    aggregate = find(name)
    away = {one.bucket for one in ownership.states(aggregate) if one.state is not State.OWNER}
    return tuple(sorted((away | _unreached(aggregate)) & set(buckets)))


def losses(name: str, buckets: Collection[int]) -> tuple[str, ...]:
    """Return why data would be lost if these buckets came home now; raises where the other side does not answer."""
    aggregate = find(name)
    asked = Asked(
        aggregate=aggregate,
        to=LEGACY,
        buckets=tuple(sorted(buckets)),
        sides=moving.both_sides(name),
        verified_within=timedelta.max,
    )
    checks = [CHECKS[check](asked) for check in LOSING]
    corrupt = [
        f"verification: {one.name}: {found.corrupt} differ between the sides. `sync verify {one.name} --repair` has "
        "the owner send them again."
        for one in members(aggregate.group) or (aggregate,)
        if (found := verify.latest(one)) is not None and found.corrupt
    ]
    return (*(f"{check.name}: {check.told}" for check in checks if not check.ok), *corrupt)


def _unreached(aggregate: Aggregate) -> set[int]:
    return set(goals.unreached(aggregate))


def _row(states: _Known, mine: str, bucket: int, goal: str) -> _Row:
    known = {side: found[bucket] for side, found in states.items() if bucket in found}
    told = tuple((side, f"{one.state} {one.epoch}") for side, one in known.items())
    owning = [side for side, one in known.items() if one.state is State.OWNER]
    if not owning and len(known) == 1 and known[mine].state is State.REPLICA:
        owning = [side for side in SIDES if side != mine]
    return owning[0] if owning else NOBODY, goal, told


def _ranges(rows: Iterable[tuple[int, _Row]]) -> Iterator[Range]:
    """Join buckets in a row about which the same is to be told."""
    for (owner, goal, told), found in groupby(rows, key=lambda row: row[1]):
        buckets = [bucket for bucket, _ in found]
        yield Range(first=buckets[0], last=buckets[-1], owner=owner, goal=goal, sides=dict(told))
