"""The public face of sync, for the commands, the admin, the plan's gates and a program of one's own."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, F, Min
from django.utils import timezone

from migrations_plan.sync import backfill, changes, lag, leases, verify
from migrations_plan.sync import relay as relaying
from migrations_plan.sync.aggregates import Aggregate, declared, find
from migrations_plan.sync.capture import install as triggers
from migrations_plan.sync.capture import upkeep
from migrations_plan.sync.capture.triggers import Health
from migrations_plan.sync.conf import conf, other
from migrations_plan.sync.documents import form_of
from migrations_plan.sync.errors import Busy, SyncError
from migrations_plan.sync.messages import Again, Side
from migrations_plan.sync.models import Capture, Mark, Ownership, ParkedDocument, Verification
from migrations_plan.sync.sides import directions

LAG_WINDOW = timedelta(minutes=5)
BUSY_SECONDS = 0.2
"""How often it is looked whether another process has done with a piece of work."""
TURN_SECONDS = 1.0
"""How long a way is relayed before the other one and the backfill have their turn."""
SHOWN = 20
"""The most findings that are told one by one."""


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


def standing(name: str) -> Standing:
    """Return how sync of an aggregate stands; asks this side's database only."""
    aggregate = find(name)
    alias = aggregate.alias
    capture = Capture.objects.using(alias).filter(aggregate=name).first()
    wrong = (
        tuple(f"{one.name} ({one.health})" for one in triggers.status(aggregate) if not one.works) if capture else ()
    )
    owners = Ownership.objects.using(alias).filter(aggregate=name).values_list("state").annotate(total=Count("id"))
    side = conf().side
    return Standing(
        aggregate=name,
        captured=capture is not None,
        missing_triggers=wrong,
        gaps=capture.gaps if capture else 0,
        backfill=_backfill(aggregate),
        directions=(_out(aggregate, f"{side}->{other(side)}"), _in(aggregate, f"{other(side)}->{side}")),
        parked=ParkedDocument.objects.using(alias).filter(aggregate=name).count(),
        owners=dict(owners),
    )


def names() -> tuple[str, ...]:
    """Return the names of all aggregates that are declared here."""
    return tuple(aggregate.name for aggregate in declared())


def to_install(name: str) -> tuple[str, ...]:
    """Return the triggers that installing would put."""
    return tuple(one.name for one in triggers.status(find(name)) if not one.works)


def to_remove(name: str) -> tuple[str, ...]:
    """Return the triggers that removing would take away."""
    return tuple(one.name for one in triggers.status(find(name)) if one.health is not Health.MISSING)


def count(name: str) -> int:
    """Return how many aggregates this side has."""
    total: int = form_of(find(name)).roots().count()
    return total


def install(name: str) -> tuple[str, ...]:
    """Install the triggers, or put back what is missing; return the names of those that were put."""
    return upkeep.start(find(name))


def uninstall(name: str) -> tuple[str, ...]:
    """Remove the triggers; from now on nobody notes what changes. Return the names of those that were there."""
    return upkeep.stop(find(name))


def start_backfill(name: str, *, anew: bool = False) -> None:
    """Begin to mark what is there; where capture has stopped before, everything is marked anew by itself."""
    aggregate = find(name)
    if not upkeep.installed(aggregate):
        raise SyncError(
            f"The triggers of {name} are not installed, so what changes during the backfill would be lost. "
            f"`sync install {name}` installs them."
        )
    begun = backfill.standing(aggregate) is not None
    marked = Mark.objects.using(aggregate.alias).filter(aggregate=name).exists()
    backfill.start(aggregate, anew=anew or (marked and not begun))


def run_backfill(name: str, progress: Callable[[backfill.Pass], None], wait: Callable[[float], None]) -> backfill.Pass:
    """Mark until everything is; one process at a time. While another one is at it, tell how far that has come."""
    aggregate = find(name)
    while True:
        try:
            return _run_backfill(aggregate, progress, wait)
        except Busy:
            row = backfill.standing(aggregate)
            if row is not None:
                progress(backfill.Pass(marked=row.marked, total=row.total, finished=row.finished_at is not None))
            wait(BUSY_SECONDS)


def _run_backfill(
    aggregate: Aggregate, progress: Callable[[backfill.Pass], None], wait: Callable[[float], None]
) -> backfill.Pass:
    with leases.held(aggregate.alias, f"backfill {aggregate.name}", conf().lease_seconds) as lease:

        def watched(done: backfill.Pass) -> None:
            lease.renew()
            progress(done)

        return backfill.run(aggregate, progress=watched, wait=wait)


def relay_once(name: str, seconds: float = math.inf) -> tuple[relaying.Report, ...]:
    """Send what is due, each way for no longer than some seconds."""
    aggregate = find(name)
    reports = []
    for number, direction in enumerate(directions(name)):
        with leases.held(aggregate.alias, f"relay {name} {number}", conf().lease_seconds) as lease:
            reports.append(relaying.relay(aggregate, direction, renew=lease.renew, seconds=seconds))
    return tuple(reports)


def run_once(name: str) -> Ran:
    """Send what is due, both ways, and mark the next chunk of a backfill that is under way; nothing waits for long."""
    aggregate = find(name)
    reports = relay_once(name, TURN_SECONDS)
    row = backfill.standing(aggregate)
    if row is None or row.finished_at is not None:
        return Ran(reports=reports, backfill=None)
    with leases.held(aggregate.alias, f"backfill {name}", conf().lease_seconds):
        return Ran(reports=reports, backfill=backfill.work(aggregate))


def latest_verification(name: str) -> Verification | None:
    """Return the last verification that was finished, None if there was none."""
    return verify.latest(find(name))


def last_run(name: str) -> Run | None:
    """Return the last verification that was finished, with what it found; None if there was none."""
    found = latest_verification(name)
    return None if found is None else _run(found)


def begin_verification(name: str) -> None:
    """Begin a verification that the workers carry out."""
    verify.begin(find(name), *_sides(name))


def run_verification(name: str, progress: Callable[[str], None]) -> Run:
    """Compare both sides from end to end; workers may help."""

    def told(now: verify.Progress) -> None:
        progress(f"{now.ranges_done} of {now.ranges} ranges, {now.compared} compared, {now.corrupt} differ")

    return _run(verify.run(find(name), *_sides(name), progress=told))


def repair(name: str, keys: Iterable[str] = (), *, dry_run: bool = False) -> int:
    """Have the owners send again what the last verification found different, or just these keys; return how many."""
    aggregate, wanted = find(name), set(keys)
    found = verify.latest(aggregate)
    if found is None:
        raise SyncError(
            f"{name} was never verified, so nothing is known to be different. `sync verify {name}` compares."
        )
    findings = [one for one in verify.unrepaired(found) if not wanted or one.key in wanted]
    unknown = sorted(wanted - {one.key for one in findings})
    if unknown:
        raise SyncError(
            f"The verification of {found.started_at:%Y-%m-%d %H:%M:%S} UTC found nothing about {', '.join(unknown)} "
            "that is still to be repaired."
        )
    here, there = _sides(name)
    if dry_run:
        return len(verify.planned_repairs(aggregate, findings, here, there))
    return verify.repair(aggregate, findings, here, there)


def retry(name: str, keys: Iterable[str] = (), *, dry_run: bool = False) -> int:
    """Try at once what waits for another try: send it again, or have the other side send it again. Return how many."""
    aggregate, wanted = find(name), set(keys)
    chosen = [one for one in waiting(name) if not wanted or one.key in wanted]
    if dry_run:
        return len(chosen)
    changes.hurry(aggregate, [one.key for one in chosen if one.where == "out"])
    arrived = [one.key for one in chosen if one.where == "in"]
    parked = ParkedDocument.objects.using(aggregate.alias).filter(aggregate=name, key__in=arrived)
    again = tuple(Again(key=one.key, gen=one.gen, bucket=one.bucket) for one in parked)
    if again:
        directions(name)[1].source.repair(name, again)
    return len(chosen)


def waiting(name: str) -> tuple[Waiting, ...]:
    """Return what waits for another try, both ways, the reasons with it."""
    aggregate = find(name)
    alias = aggregate.alias
    held = Mark.objects.using(alias).filter(aggregate=name, gen__gt=F("acked"), retry_at__isnull=False)
    parked = ParkedDocument.objects.using(alias).filter(aggregate=name)
    return (
        *(Waiting(key=m.key, gen=m.gen, where="out", reason=m.reason, tries=m.tries) for m in held.order_by("id")),
        *(Waiting(key=p.key, gen=p.gen, where="in", reason=p.reason, tries=p.tries) for p in parked.order_by("id")),
    )


def _sides(name: str) -> tuple[Side, Side]:
    out, _ = directions(name)
    return out.source, out.target


def _run(found: Verification) -> Run:
    findings = found.findings.order_by("id")[:SHOWN]
    return Run(
        aggregate=found.aggregate,
        started_at=found.started_at,
        finished_at=found.finished_at,
        compared=found.compared,
        corrupt=found.corrupt,
        unresolved=found.unresolved + found.pending,
        findings=tuple(Found(key=one.key, kind=one.kind, detail=one.detail) for one in findings),
    )


def _backfill(aggregate: Aggregate) -> BackfillStanding | None:
    row = backfill.standing(aggregate)
    if row is None:
        return None
    return BackfillStanding(marked=row.marked, total=row.total, started_at=row.started_at, finished_at=row.finished_at)


def _out(aggregate: Aggregate, name: str) -> DirectionStanding:
    marked = Mark.objects.using(aggregate.alias).filter(aggregate=aggregate.name, gen__gt=F("acked"))
    oldest = marked.aggregate(at=Min("changed_at"))["at"]
    measured = _lag(aggregate, name)
    return DirectionStanding(
        name=name,
        marked=marked.count(),
        held=marked.filter(retry_at__isnull=False).count(),
        oldest_seconds=(timezone.now() - oldest).total_seconds() if oldest else None,
        lag_p50=measured.p50,
        lag_p99=measured.p99,
        lag_samples=measured.samples,
    )


def _in(aggregate: Aggregate, name: str) -> DirectionStanding:
    measured = _lag(aggregate, name)
    return DirectionStanding(
        name=name,
        marked=None,
        held=None,
        oldest_seconds=None,
        lag_p50=measured.p50,
        lag_p99=measured.p99,
        lag_samples=measured.samples,
    )


def _lag(aggregate: Aggregate, direction: str) -> lag.Percentiles:
    return lag.percentiles(aggregate.alias, aggregate.name, direction, timezone.now() - LAG_WINDOW)
