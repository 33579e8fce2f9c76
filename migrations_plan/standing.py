"""How sync of an aggregate stands, as gates and operations look at it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class BackfillProgress:
    """How far the marking of what was there before capture has come."""

    marked: int
    total: int
    finished: bool


@dataclass(frozen=True, kw_only=True)
class Way:
    """How changes get from one side to the other."""

    name: str
    """``legacy->extracted``"""
    waiting: int = 0
    """Changes that have not arrived."""
    held: int = 0
    """Those of them that were not accepted, and wait for another try."""
    oldest_seconds: float | None = None
    """How long the change that has waited longest has."""
    lag_p99: float | None = None
    """Seconds from a change to its arrival, over the last minutes; None where nothing arrived."""
    lag_samples: int = 0


@dataclass(frozen=True, kw_only=True)
class SyncStanding:
    """What this side knows of the sync of one aggregate."""

    captured: bool = False
    """Whether triggers note what changes here."""
    missing_triggers: tuple[str, ...] = ()
    """Those that are not as they have to be."""
    backfill: BackfillProgress | None = None
    """None where it was never begun, or does not count any more."""
    ways: tuple[Way, ...] = ()
    parked: int = 0
    """Documents from the other side that could not be applied here."""
    owners: Mapping[str, int] = field(default_factory=dict)
    """What this side is to how many buckets: owner, frozen, replica."""
    between: int = 0
    """How many buckets change hands and are not wholly at either side, as far as this side can tell."""
    problem: str = ""
    """Why nothing of this is known; empty if it is."""

    def way(self, name: str) -> Way | None:
        """Return the way of this name."""
        return next((way for way in self.ways if way.name == name), None)

    @property
    def owned_elsewhere(self) -> int:
        """Return how many buckets this side does not own."""
        return sum(count for state, count in self.owners.items() if state != "owner")


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What a comparison of both sides, row by row, has found."""

    started_at: datetime
    finished_at: datetime
    compared: int
    corrupt: int
    unresolved: int
    """Aggregates that were still on their way when they were asked for the last time, or not backfilled yet."""


@dataclass(frozen=True, kw_only=True)
class Owners:
    """Which side owns how many buckets of an aggregate, next to how many the step wants at the service."""

    aggregate: str
    wanted: int
    """Percent, and so buckets, that the step in force, or the one begun, wants the service to own."""
    legacy: int
    extracted: int
    between: int
    """Change hands, and are not wholly at either side."""

    @classmethod
    def of(cls, aggregate: str, wanted: int, standing: SyncStanding) -> "Owners":
        """Return what the monolith's side knows about it."""
        count = standing.owners.get
        return cls(
            aggregate=aggregate,
            wanted=wanted,
            legacy=count("owner", 0),
            extracted=count("replica", 0),
            between=max(standing.between, count("frozen", 0)),
        )

    def __str__(self) -> str:
        told = f"legacy owns {self.legacy} buckets, the service {self.extracted}; the step wants {self.wanted} there"
        return f"{told}; {self.between} are in between" if self.between else told


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that has to hold before buckets change hands; ``told`` says what to do where it does not."""

    name: str
    ok: bool
    told: str


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What became of buckets that were to change hands."""

    to: str
    there: int
    """How many of the wanted ones are at that side now."""
    wanted: int
    moved: int = 0
    """How many of them this run has brought there."""
    stayed: Mapping[int, str] = field(default_factory=dict)
    """Those that are where they were, and why."""
    undecided: Mapping[int, str] = field(default_factory=dict)
    """Those in which nobody writes until a coordinator goes on, and why."""
    held: str = ""
    """For how long nobody could write in those that moved."""

    @property
    def done(self) -> bool:
        """Return whether every bucket is where it was to be."""
        return self.there == self.wanted


@dataclass(frozen=True, kw_only=True)
class Homecoming:
    """What a rollback has to bring home, and what would be lost by it."""

    aggregate: str
    buckets: tuple[int, ...] = ()
    """Those that are not at home."""
    waiting: int = 0
    """Aggregates that were changed at the service and have not come home yet."""
    intents: int = 0
    """Pieces of work that have to end first."""
    seconds: float = 0.0
    """About so long it takes."""
    problems: tuple[str, ...] = ()
    """Why it would lose data; empty if it would not."""
    asked: bool = True
    """Whether the service could be asked what has changed there."""

    def __str__(self) -> str:
        if not self.buckets:
            return f"Every bucket of {self.aggregate} on this way is at home."
        if not self.asked:
            return f"{len(self.buckets)} buckets of {self.aggregate} have to come home; with how much, nobody can tell."
        return (
            f"{len(self.buckets)} buckets of {self.aggregate} have to come home, with {self.waiting} changes that are "
            f"not here yet; {self.intents} pieces of work have to end first. It takes about {self.seconds:.0f} s."
        )


def of_group(found: Sequence[SyncStanding]) -> SyncStanding:
    """Return how aggregates that change hands together stand: as badly as any of them; the first one leads.

    The lag is that of the slowest, which is never less than that of all changes taken together.
    """
    leader, rest = found[0], found[1:]
    if not rest:
        return leader
    return replace(
        leader,
        captured=all(one.captured for one in found),
        missing_triggers=tuple(name for one in found for name in one.missing_triggers),
        backfill=_backfill_of([one.backfill for one in found]),
        ways=tuple(_way_of([one.way(way.name) or Way(name=way.name) for one in found]) for way in leader.ways),
        parked=sum(one.parked for one in found),
    )


def _backfill_of(found: Sequence[BackfillProgress | None]) -> BackfillProgress | None:
    begun = [one for one in found if one is not None]
    if len(begun) < len(found):
        return None
    return BackfillProgress(
        marked=sum(one.marked for one in begun),
        total=sum(one.total for one in begun),
        finished=all(one.finished for one in begun),
    )


def _way_of(found: Sequence[Way]) -> Way:
    return Way(
        name=found[0].name,
        waiting=sum(one.waiting for one in found),
        held=sum(one.held for one in found),
        oldest_seconds=max((one.oldest_seconds for one in found if one.oldest_seconds is not None), default=None),
        lag_p99=max((one.lag_p99 for one in found if one.lag_p99 is not None), default=None),
        lag_samples=sum(one.lag_samples for one in found),
    )


def verified_together(found: Sequence[Verified | None]) -> Verified | None:
    """Return what comparing aggregates that change hands together has found; None unless each was compared.

    It is as old as the oldest, and what was compared is counted of the first one, which leads.
    """
    done = [one for one in found if one is not None]
    if len(done) < len(found):
        return None
    return replace(
        done[0],
        started_at=min(one.started_at for one in done),
        finished_at=min(one.finished_at for one in done),
        corrupt=sum(one.corrupt for one in done),
        unresolved=sum(one.unresolved for one in done),
    )
