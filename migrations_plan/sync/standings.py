"""What is told about sync: how it stands, what a pass of work did, what a comparison has found."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from migrations_plan.sync import backfill
from migrations_plan.sync import relay as relaying
from migrations_plan.sync.handover.audit import Held


@dataclass(frozen=True, kw_only=True)
class BackfillStanding:
    """How far the marking of existing keys has come."""

    marked: int
    total: int
    started_at: datetime
    finished_at: datetime | None

    @property
    def fraction(self) -> float:
        """Return the share that is marked, from 0 to 1."""
        if self.finished_at is not None:
            return 1.0
        return min(1.0, self.marked / self.total) if self.total else 0.0


@dataclass(frozen=True, kw_only=True)
class DirectionStanding:
    """How far one way of an aggregate is behind. Marks are this side's; the other side knows its own."""

    name: str
    marked: int | None
    """Aggregates that wait to be sent; None where only the other side knows."""
    held: int | None
    """Those of them that were not accepted and wait for another try."""
    oldest_seconds: float | None
    """The age of the change that has waited longest."""
    lag_p50: float | None
    lag_p99: float | None
    """Seconds from a change to its arrival, over the last five minutes."""
    lag_samples: int


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How sync of one aggregate stands, as this side knows it."""

    aggregate: str
    captured: bool
    """Whether somebody has installed the triggers."""
    missing_triggers: tuple[str, ...]
    gaps: int
    """How often triggers were found missing and put back."""
    backfill: BackfillStanding | None
    directions: tuple[DirectionStanding, ...]
    parked: int
    """Documents that this side could not apply."""
    owners: dict[str, int]
    """How many buckets this side owns, has frozen, replicates."""
    between: tuple[int, ...]
    """Buckets that a coordinator has to go on with, as far as this side can tell."""
    held: Held
    """For how long buckets that changed hands lately could not be written."""

    def as_json(self) -> dict[str, Any]:
        """Return the standing for machines."""
        data = asdict(self)
        for name in ("started_at", "finished_at"):
            if self.backfill is not None and data["backfill"][name] is not None:
                data["backfill"][name] = data["backfill"][name].isoformat()
        return data


@dataclass(frozen=True, kw_only=True)
class Found:
    """One aggregate on which the sides differ."""

    key: str
    kind: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """A verification, and the first of what it found."""

    aggregate: str
    started_at: datetime
    finished_at: datetime | None
    compared: int
    corrupt: int
    unresolved: int
    """On their way when they were asked for the last time, or not backfilled yet."""
    findings: tuple[Found, ...] = ()

    @property
    def clean(self) -> bool:
        """Return whether everything was compared and found equal."""
        return self.finished_at is not None and not (self.corrupt or self.unresolved)

    def as_json(self) -> dict[str, Any]:
        """Return the verification for machines."""
        finished = self.finished_at.isoformat() if self.finished_at else None
        data = {**asdict(self), "started_at": self.started_at.isoformat(), "finished_at": finished}
        return {**data, "clean": self.clean}


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What one pass of relay and backfill did."""

    reports: tuple[relaying.Report, ...]
    backfill: backfill.Pass | None

    @property
    def away(self) -> str:
        """Return why the other side could not be reached, empty if it could."""
        return next((report.away for report in self.reports if report.away), "")

    @property
    def retry_after(self) -> float:
        """Return after how many seconds another pass makes sense."""
        return max((report.retry_after for report in self.reports), default=0.0)

    @property
    def idle(self) -> bool:
        """Return whether there was nothing to do."""
        waits = self.backfill is not None and not self.backfill.finished
        return not waits and not any(report.sent for report in self.reports)

    def as_json(self) -> dict[str, Any]:
        """Return what was done, for machines."""
        return {
            "directions": {report.direction: dict(report.outcomes) for report in self.reports},
            "backfill": asdict(self.backfill) if self.backfill else None,
            "away": self.away,
        }


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A change that the other side did not accept, or a document that this side could not apply."""

    key: str
    gen: int
    where: str
    """``out``: sent and not accepted; ``in``: arrived and not applied."""
    reason: str
    tries: int
