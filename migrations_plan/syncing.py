"""Sync as the plan uses it. A project installs ``migrations_plan.sync`` when it comes to separating data, not before.

So its models are imported when they are needed; without the app they could not be.
"""

from django.apps import apps

from migrations_plan.gates import HealthReport
from migrations_plan.standing import BackfillProgress, SyncStanding, Verified, Way
from migrations_plan.sync import aggregates
from migrations_plan.sync.errors import NotConfigured, SyncError

APP = "migrations_plan.sync"


def installed() -> bool:
    """Return whether the project has the app."""
    return apps.is_installed(APP)


def declared() -> tuple[str, ...]:
    """Return the names of the aggregates that are declared on this side."""
    return tuple(aggregate.name for aggregate in aggregates.declared())


def install(aggregate: str) -> None:
    """Put the triggers in place, and write down who owns which bucket where nobody has yet."""
    _require()
    from migrations_plan.sync import operate

    operate.install(aggregate)


def uninstall(aggregate: str) -> None:
    """Remove the triggers; what was backfilled does not count any more."""
    _require()
    from migrations_plan.sync import operate

    operate.uninstall(aggregate)


def start_backfill(aggregate: str) -> None:
    """Begin to mark what is there, or go on; everything anew where capture has stopped before."""
    _require()
    from migrations_plan.sync import operate

    operate.start_backfill(aggregate)


def standing(aggregate: str) -> SyncStanding:
    """Return how sync stands; what keeps this side from knowing it is part of the answer."""
    try:
        _require()
        from migrations_plan.sync import operate

        found = operate.standing(aggregate)
    except SyncError as problem:
        return SyncStanding(problem=str(problem))
    backfill = found.backfill
    return SyncStanding(
        captured=found.captured,
        missing_triggers=found.missing_triggers,
        backfill=None
        if backfill is None
        else BackfillProgress(marked=backfill.marked, total=backfill.total, finished=backfill.finished_at is not None),
        ways=tuple(
            Way(
                name=way.name,
                waiting=way.marked or 0,
                held=way.held or 0,
                oldest_seconds=way.oldest_seconds,
                lag_p99=way.lag_p99,
                lag_samples=way.lag_samples,
            )
            for way in found.directions
        ),
        parked=found.parked,
        owners=dict(found.owners),
    )


def verification(aggregate: str) -> Verified | None:
    """Return what the last finished comparison of both sides found; None if there was none."""
    try:
        _require()
        from migrations_plan.sync import operate

        found = operate.latest_verification(aggregate)
    except SyncError:
        return None
    if found is None or found.finished_at is None:
        return None
    return Verified(
        started_at=found.started_at,
        finished_at=found.finished_at,
        compared=found.compared,
        corrupt=found.corrupt,
        unresolved=found.unresolved + found.pending,
    )


def peer(aggregate: str) -> HealthReport:
    """Ask the other side of an aggregate who it is to each bucket: so it is there, and believes our tokens."""
    try:
        _require()
        from migrations_plan.sync import sides

        buckets = sides.there(aggregate).ownership(aggregate)
    except SyncError as problem:
        return HealthReport(ok=False, detail=str(problem))
    return HealthReport(ok=True, detail=f"The other side of {aggregate} answers for {len(buckets)} buckets.")


def _require() -> None:
    if not installed():
        raise NotConfigured(f"{APP} is not in INSTALLED_APPS, so nothing can be synced.")
