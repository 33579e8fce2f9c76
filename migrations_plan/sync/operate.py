"""The public face of sync, for the commands, the admin, the plan's gates and a program of one's own.

What is done to an aggregate that leads others is done to these as well; how each of them stands is told one by one.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

from django.db.models import Count, F, Min
from django.utils import timezone

from migrations_plan.sync import backfill, changes, lag, leases, ownership, verify
from migrations_plan.sync import relay as relaying
from migrations_plan.sync.aggregates import Aggregate, declared, find, together
from migrations_plan.sync.capture import install as triggers
from migrations_plan.sync.capture import upkeep
from migrations_plan.sync.capture.triggers import Health
from migrations_plan.sync.conf import conf, other
from migrations_plan.sync.documents import form_of
from migrations_plan.sync.errors import Busy, SyncError
from migrations_plan.sync.messages import Again, Outcome, Side, State
from migrations_plan.sync.models import Capture, Mark, Ownership, ParkedDocument, Verification
from migrations_plan.sync.owners import between_here, held_lately
from migrations_plan.sync.sides import directions
from migrations_plan.sync.standings import BackfillStanding, DirectionStanding, Found, Ran, Run, Standing, Waiting

LAG_WINDOW = timedelta(minutes=5)
BUSY_SECONDS = 0.2
"""How often it is looked whether another process has done with a piece of work."""
TURN_SECONDS = 1.0
"""How long a way is relayed before the other one and the backfill have their turn."""
SHOWN = 20
"""The most findings that are told one by one."""


def standing(name: str) -> Standing:
    """Return how sync of an aggregate stands; asks this side's database only."""
    aggregate = find(name)
    alias = aggregate.alias
    capture = Capture.objects.using(alias).filter(aggregate=name).first()
    wrong = (
        tuple(f"{one.name} ({one.health})" for one in triggers.status(aggregate) if not one.works) if capture else ()
    )
    owners = (
        Ownership.objects.using(alias)
        .filter(aggregate=aggregate.group)
        .values_list("state")
        .annotate(total=Count("id"))
    )
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
        between=between_here(aggregate),
        held=held_lately(aggregate),
    )


def names() -> tuple[str, ...]:
    """Return the names of all aggregates that are declared here."""
    return tuple(aggregate.name for aggregate in declared())


def owned_buckets(name: str) -> frozenset[int] | None:
    """Return the buckets that this side may write; None where nobody has written down who owns them."""
    states = ownership.states(find(name))
    return frozenset(one.bucket for one in states if one.state is State.OWNER) if states else None


def to_install(name: str) -> tuple[str, ...]:
    """Return the triggers that installing would put."""
    return tuple(each.name for one in together(name) for each in triggers.status(one) if not each.works)


def to_remove(name: str) -> tuple[str, ...]:
    """Return the triggers that removing would take away."""
    found = (each for one in together(name) for each in triggers.status(one))
    return tuple(each.name for each in found if each.health is not Health.MISSING)


def count(name: str) -> int:
    """Return how many aggregates this side has."""
    return sum(form_of(one).roots().count() for one in together(name))


def install(name: str) -> tuple[str, ...]:
    """Install the triggers, or put back what is missing; return the names of those that were put."""
    return tuple(put for one in together(name) for put in upkeep.start(one))


def uninstall(name: str) -> tuple[str, ...]:
    """Remove the triggers; from now on nobody notes what changes. Return the names of those that were there.

    Refused while buckets are not where they were at the start: the triggers are what keeps others from writing there.
    """
    elsewhere = ownership.moved(find(name))
    if elsewhere:
        raise SyncError(
            f"{elsewhere} buckets of {name} have changed hands, and its triggers keep this side from writing in them. "
            "Bring them home first: `phase rollback` does."
        )
    return tuple(removed for one in together(name) for removed in upkeep.stop(one))


def start_backfill(name: str, *, anew: bool = False) -> None:
    """Begin to mark what is there; where capture has stopped before, everything is marked anew by itself."""
    for one in together(name):
        _start_backfill(one, anew=anew)


def _start_backfill(aggregate: Aggregate, *, anew: bool) -> None:
    name = aggregate.name
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
    return _added_up([_run_backfill(one, progress, wait) for one in together(name)])


def _run_backfill(
    aggregate: Aggregate, progress: Callable[[backfill.Pass], None], wait: Callable[[float], None]
) -> backfill.Pass:
    while True:
        try:
            return _mark_alone(aggregate, progress, wait)
        except Busy:
            row = backfill.standing(aggregate)
            if row is not None:
                progress(backfill.Pass(marked=row.marked, total=row.total, finished=row.finished_at is not None))
            wait(BUSY_SECONDS)


def _mark_alone(
    aggregate: Aggregate, progress: Callable[[backfill.Pass], None], wait: Callable[[float], None]
) -> backfill.Pass:
    with leases.held(aggregate.alias, f"backfill {aggregate.name}", conf().lease_seconds) as lease:

        def watched(done: backfill.Pass) -> None:
            lease.renew()
            progress(done)

        return backfill.run(aggregate, progress=watched, wait=wait)


def _added_up(passes: Sequence[backfill.Pass]) -> backfill.Pass:
    return backfill.Pass(
        marked=sum(one.marked for one in passes),
        total=sum(one.total for one in passes),
        finished=all(one.finished for one in passes),
        throttled=next((one.throttled for one in passes if one.throttled), ""),
    )


def relay_once(name: str, seconds: float = math.inf) -> tuple[relaying.Report, ...]:
    """Send what is due, each way for no longer than some seconds; return what went which way."""
    leader = find(name)
    reports = []
    for number, direction in enumerate(directions(name)):
        with leases.held(leader.alias, f"relay {name} {number}", conf().lease_seconds) as lease:
            reports.append(
                _of_one_way(
                    [relaying.relay(one, direction, renew=lease.renew, seconds=seconds) for one in together(name)]
                )
            )
    return tuple(reports)


def _of_one_way(reports: Sequence[relaying.Report]) -> relaying.Report:
    outcomes: Counter[Outcome] = Counter()
    for report in reports:
        outcomes.update(report.outcomes)
    return relaying.Report(
        direction=reports[0].direction,
        outcomes=outcomes,
        waiting=sum(one.waiting for one in reports),
        away=next((one.away for one in reports if one.away), ""),
        retry_after=max(one.retry_after for one in reports),
    )


def run_once(name: str) -> Ran:
    """Send what is due, both ways, and mark the next chunk of a backfill that is under way; nothing waits for long."""
    reports, passes = relay_once(name, TURN_SECONDS), []
    for aggregate in together(name):
        row = backfill.standing(aggregate)
        if row is not None and row.finished_at is None:
            with leases.held(aggregate.alias, f"backfill {aggregate.name}", conf().lease_seconds):
                passes.append(backfill.work(aggregate))
    return Ran(reports=reports, backfill=_added_up(passes) if passes else None)


def latest_verification(name: str) -> Verification | None:
    """Return the last verification that was finished, None if there was none."""
    return verify.latest(find(name))


def last_run(name: str) -> Run | None:
    """Return the last verification that was finished, with what it found; None if there was none."""
    found = latest_verification(name)
    return None if found is None else _run(found)


def begin_verification(name: str) -> None:
    """Begin a verification that the workers carry out."""
    for one in together(name):
        verify.begin(one, *_sides(one.name))


def run_verification(name: str, progress: Callable[[str], None]) -> Run:
    """Compare both sides from end to end; workers may help."""

    def told(now: verify.Progress) -> None:
        progress(f"{now.ranges_done} of {now.ranges} ranges, {now.compared} compared, {now.corrupt} differ")

    runs = [_run(verify.run(one, *_sides(one.name), progress=told)) for one in together(name)]
    finished = [run.finished_at for run in runs if run.finished_at is not None]
    return Run(
        aggregate=name,
        started_at=min(run.started_at for run in runs),
        finished_at=max(finished) if len(finished) == len(runs) else None,
        compared=sum(run.compared for run in runs),
        corrupt=sum(run.corrupt for run in runs),
        unresolved=sum(run.unresolved for run in runs),
        findings=tuple(found for run in runs for found in run.findings)[:SHOWN],
    )


def repair(name: str, keys: Iterable[str] = (), *, dry_run: bool = False) -> int:
    """Have the owners send again what the last verification found different, or just these keys; return how many.

    Keys are those of the aggregate itself; without any, what it leads is repaired as well.
    """
    wanted = set(keys)
    return sum(_repair(one, wanted, dry_run=dry_run) for one in (together(name)[:1] if wanted else together(name)))


def _repair(aggregate: Aggregate, wanted: set[str], *, dry_run: bool) -> int:
    name, found = aggregate.name, verify.latest(aggregate)
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
    wanted, total = set(keys), 0
    for aggregate in together(name):
        chosen = [one for one in _waiting(aggregate) if not wanted or one.key in wanted]
        total += len(chosen)
        if not dry_run:
            _retry(aggregate, chosen)
    return total


def _retry(aggregate: Aggregate, chosen: Sequence[Waiting]) -> None:
    name = aggregate.name
    changes.hurry(aggregate, [one.key for one in chosen if one.where == "out"])
    arrived = [one.key for one in chosen if one.where == "in"]
    parked = ParkedDocument.objects.using(aggregate.alias).filter(aggregate=name, key__in=arrived)
    again = tuple(Again(key=one.key, gen=one.gen, bucket=one.bucket) for one in parked)
    if again:
        directions(name)[1].source.repair(name, again)


def waiting(name: str) -> tuple[Waiting, ...]:
    """Return what waits for another try, both ways, the reasons with it."""
    return tuple(waits for one in together(name) for waits in _waiting(one))


def _waiting(aggregate: Aggregate) -> tuple[Waiting, ...]:
    alias, name = aggregate.alias, aggregate.name
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
