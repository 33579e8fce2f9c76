"""How sync of an aggregate stands, as gates and operations look at it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
