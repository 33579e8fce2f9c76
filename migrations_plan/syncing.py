"""Sync as the plan uses it. A project installs ``migrations_plan.sync`` when it comes to separating data, not before.

So its models are imported when they are needed; without the app they could not be.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import timedelta
from itertools import groupby
from time import monotonic
from typing import Any

from django.apps import apps

from migrations_plan.errors import InProgress, Refused
from migrations_plan.gates import HealthReport
from migrations_plan.standing import (
    BackfillProgress,
    Check,
    Homecoming,
    Moved,
    SyncStanding,
    Verified,
    Way,
    of_group,
    verified_together,
)
from migrations_plan.sync import aggregates
from migrations_plan.sync.conf import SIDES
from migrations_plan.sync.errors import Busy, NotConfigured, SyncError
from router.holders import Holder

APP = "migrations_plan.sync"
LEGACY, EXTRACTED = SIDES
BUSY_SECONDS = 15.0
"""How long another process that moves buckets is waited for: the sweeper ends soon, and a dead one's lease does."""
BUSY_PAUSE = 0.2


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

        found = [operate.standing(one.name) for one in aggregates.together(aggregate)]
    except SyncError as problem:
        return SyncStanding(problem=str(problem))
    return of_group([_standing(one) for one in found])


def _standing(found: Any) -> SyncStanding:
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
        between=len(found.between),
    )


def verification(aggregate: str) -> Verified | None:
    """Return what the last finished comparison of both sides found; None if there was none."""
    try:
        _require()
        from migrations_plan.sync import operate

        found = [operate.latest_verification(one.name) for one in aggregates.together(aggregate)]
    except SyncError:
        return None
    return verified_together([_verified(one) for one in found])


def _verified(found: Any) -> Verified | None:
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


def ready_to_move(
    aggregate: str, buckets: Collection[int], *, verified_within: timedelta, min_compared: int
) -> tuple[Check, ...]:
    """Return what has to hold before those of the buckets that are at legacy go to the service."""
    try:
        _require()
        from migrations_plan.sync import owners
        from migrations_plan.sync.handover import moving

        ahead = owners.still_at_legacy(aggregate, buckets)
        found = (
            moving.look_before(
                aggregate, EXTRACTED, ahead, verified_within=verified_within, least_compared=min_compared
            )
            if ahead
            else ()
        )
    except SyncError as problem:
        return (Check(name="sync", ok=False, told=str(problem)),)
    return tuple(Check(name=one.name, ok=one.ok, told=one.told) for one in found)


def homecoming(aggregate: str, buckets: Collection[int]) -> Homecoming:
    """Return what bringing those of the buckets that are away home to legacy takes, and would lose."""
    try:
        _require()
        from migrations_plan.sync import owners
        from migrations_plan.sync.handover import moving

        away = owners.not_at_home(aggregate, buckets)
    except SyncError as problem:
        return Homecoming(aggregate=aggregate, problems=(str(problem),))
    if not away:
        return Homecoming(aggregate=aggregate)
    try:
        found = moving.homecoming(aggregate, LEGACY, away)
        problems = owners.losses(aggregate, away)
    except SyncError as problem:
        told = f"The service holds {len(away)} buckets of {aggregate} and cannot be asked for them: {problem}"
        return Homecoming(aggregate=aggregate, buckets=away, problems=(told,), asked=False)
    return Homecoming(
        aggregate=aggregate,
        buckets=away,
        waiting=found.waiting,
        intents=found.intents,
        seconds=found.seconds,
        problems=problems,
    )


def move(aggregate: str, to: str, buckets: Collection[int], *, actor: str, report: Callable[[str], None]) -> Moved:
    """Have a side own these buckets, one after the other; ``report`` is called between two of them, and may raise."""
    _require()
    if to == LEGACY and not _away(aggregate, buckets):
        return Moved(to=to, there=len(buckets), wanted=len(buckets))
    from migrations_plan.sync.handover import moving

    until = monotonic() + BUSY_SECONDS
    while True:
        try:
            found = moving.move(aggregate, to, buckets, actor=actor, progress=report)
        except Busy as busy:  # the sweeper, which is done soon, or another operator, who may not be
            if monotonic() >= until:
                raise InProgress(f"{busy} Let it end, and run this again.") from busy
            moving.pause(BUSY_PAUSE)
        except SyncError as problem:
            raise Refused(f"No more buckets of {aggregate} could be moved: {problem}") from problem
        else:
            return Moved(
                to=to,
                there=found.there,
                wanted=found.wanted,
                moved=len(found.moved),
                stayed=found.stayed,
                undecided=found.undecided,
                held=_held(found.held),
            )


def whole(aggregate: str) -> bool:
    """Return whether all buckets of an aggregate have to change hands together, since each row is a key of its own."""
    return any(one.name == aggregate and one.owns_itself for one in aggregates.declared())


def owned_under(aggregate: str) -> str:
    """Return under which name the owners of an aggregate's buckets are kept, which is where the router looks."""
    return next((one.group for one in aggregates.declared() if one.name == aggregate), aggregate)


def _away(aggregate: str, buckets: Collection[int]) -> tuple[int, ...]:
    from migrations_plan.sync import owners

    return owners.not_at_home(aggregate, buckets)


def _held(found: Any) -> str:
    if not found.count:
        return ""
    return f"nobody could write in a bucket for {found.p50_ms} ms (p50), {found.longest_ms} ms at most"


def holders() -> Mapping[str, Mapping[int, Holder]]:
    """Return, for each aggregate whose ownership is kept here, who has the buckets that this side does not own."""
    found: dict[str, dict[int, Holder]] = {}
    for alias, groups in _groups():
        found |= {group: {} for group in groups}
        away = _ownership(alias).filter(aggregate__in=groups).exclude(state="owner")
        for group, bucket, state in away.values_list("aggregate", "bucket", "state"):
            found[group][bucket] = _HOLDERS[state]
    return found


def announced() -> Mapping[str, frozenset[int]]:
    """Return, for each aggregate whose ownership is kept here, the buckets that are on their way to another owner."""
    from migrations_plan.sync.handover.goals import on_their_way

    return {group: found for alias, groups in _groups() for group, found in on_their_way(alias, groups).items()}


def holder_now(aggregate: str, bucket: int) -> Holder:
    """Return who has one bucket of an aggregate at this moment; what nobody has written down has never left."""
    alias = next((alias for alias, groups in _groups() if aggregate in groups), None)
    if alias is None:
        return "legacy"
    state = _ownership(alias).filter(aggregate=aggregate, bucket=bucket).values_list("state", flat=True).first()
    return _HOLDERS[state or "owner"]


def is_behind(aggregate: str, bucket: int) -> bool:
    """Return whether a change in a bucket waits to be sent to the other side; asks whoever owns it, which may fail."""
    if not installed() or aggregate not in declared():
        return False
    from migrations_plan.sync import sides

    holder = holder_now(aggregate, bucket)
    if holder == "none":  # it is being emptied at this moment
        return True
    owner = sides.there(aggregate) if holder == EXTRACTED else sides.here()
    return any(one.waiting for one in owner.look(aggregate, (bucket,)))


def arrived(written: Mapping[tuple[str, str], int]) -> bool:
    """Return whether these versions of the other side's aggregates, or later ones, were applied here."""
    if not installed():
        return True
    from migrations_plan.sync import versions

    return versions.arrived(written)


_HOLDERS: Mapping[str, Holder] = {"owner": "legacy", "frozen": "none", "replica": "extracted"}
"""What this side's being that to a bucket says about who may write it."""


def _groups() -> Iterator[tuple[str, list[str]]]:
    """Yield the names under which ownership is kept, by the database that it is kept in."""
    if not installed():
        return
    kept = sorted({(aggregate.alias, aggregate.group) for aggregate in aggregates.declared()})
    for alias, pairs in groupby(kept, key=lambda pair: pair[0]):
        yield alias, [group for _, group in pairs]


def _ownership(alias: str) -> Any:
    from migrations_plan.sync.models import Ownership

    return Ownership.objects.using(alias).order_by()


def _require() -> None:
    if not installed():
        raise NotConfigured(f"{APP} is not in INSTALLED_APPS, so nothing can be synced.")
