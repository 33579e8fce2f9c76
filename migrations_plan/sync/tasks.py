"""Celery's part: hints that there is work. Losing every one of them, or getting each twice, changes only the delay."""

import logging
from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import Any

from celery import Task, shared_task
from kombu.exceptions import OperationalError

from migrations_plan.sync import backfill, lag, leases, owners, verify
from migrations_plan.sync.aggregates import Aggregate, declared, find, together
from migrations_plan.sync.capture import upkeep
from migrations_plan.sync.conf import conf
from migrations_plan.sync.errors import Busy, SyncError
from migrations_plan.sync.relay import Report, relay_for
from migrations_plan.sync.sides import directions, peer_of

logger = logging.getLogger("strangler.sync")

RELAY_SECONDS = 3.0
"""A relay stays this long, looking for changes all the time; the beat sends the next one."""
HINT_SECONDS = 5.0
"""Older hints are dropped unread, so that they do not pile up where workers are few."""
WORK_SECONDS = 3.0
"""Backfill and verification give way to other tasks after this."""
PEER_SECONDS = 5.0
"""How often the other side is asked whether a bucket is in between, once it owns some."""


@shared_task(name="strangler_sync.sweep", ignore_result=True)
def sweep() -> None:
    """Look at every aggregate of this program that is synced, and have done what there is to do."""
    for aggregate in declared():
        if peer_of(aggregate.name) is None or not upkeep.installed(aggregate):
            continue
        try:
            upkeep.mend(aggregate)
        except SyncError as error:
            logger.error("%s: %s", aggregate.name, error)
        if aggregate.name == aggregate.group:
            for way in (0, 1):
                _hint(relay, aggregate.name, way)
        standing = backfill.standing(aggregate)
        if standing is not None and standing.finished_at is None:
            _hint(work_backfill, aggregate.name)
        if verify.unfinished(aggregate):
            _hint(work_verification, aggregate.name)
        if aggregate.name == aggregate.group and _may_be_in_between(aggregate):
            _hint(handover, aggregate.name)


@shared_task(name="strangler_sync.relay", ignore_result=True, bind=True)
def relay(self: "Task[[str, int], str]", name: str, way: int) -> str:
    """Relay one way of an aggregate and of those that it leads (0: out of this side, 1: into it) for some seconds.

    Nothing is done while somebody else is at it.
    """
    done: list[Report] = []

    def work(aggregate: Aggregate, renew: Callable[[], None]) -> str:
        installed = [one for one in together(name) if upkeep.installed(one)]
        report = relay_for(installed, directions(name)[way], RELAY_SECONDS, renew=renew, wait=pause)
        if report.away:
            pause(min(report.retry_after, RELAY_SECONDS))
        else:
            done.append(report)
        return str(report)

    told = _alone(f"relay {name} {way}", name, work)
    if done:
        _go_on(self, name, way)
    return told


@shared_task(name="strangler_sync.backfill", ignore_result=True)
def work_backfill(name: str) -> str:
    """Mark existing keys for some seconds."""

    def work(aggregate: Aggregate, renew: Callable[[], None]) -> str:
        until, chunk = monotonic() + WORK_SECONDS, None
        while True:
            renew()
            done = backfill.work(aggregate, chunk)
            chunk = done.chunk
            if done.finished or done.throttled or monotonic() >= until:
                return f"{done.marked} of {done.total} marked"

    return _alone(f"backfill {name}", name, work)


@shared_task(name="strangler_sync.verify", ignore_result=True)
def work_verification(name: str) -> str:
    """Compare ranges of the verification that is under way, for some seconds; several may at once."""
    aggregate, until, done = find(name), monotonic() + WORK_SECONDS, 0
    here, there = (direction.source for direction in directions(name))
    try:
        while verify.work_next(aggregate, here, there):
            done += 1
            if monotonic() >= until:
                break
    except SyncError as error:
        logger.error("verify %s: %s", name, error)
        return str(error)
    return f"{done} ranges compared"


@shared_task(name="strangler_sync.handover", ignore_result=True)
def handover(name: str) -> str:
    """End every change of hands that was begun and that nobody is at; begin none."""
    try:
        found = owners.resume(name)
    except Busy as busy:
        return str(busy)
    except SyncError as error:
        logger.error("handover %s: %s", name, error)
        return str(error)
    return f"buckets in between: {', '.join(map(str, found))}" if found else "no bucket is in between"


@shared_task(name="strangler_sync.purge", ignore_result=True)
def purge() -> int:
    """Forget old histograms of lag."""
    return sum(lag.purge(alias) for alias in sorted({aggregate.alias for aggregate in declared()}))


def pause(seconds: float) -> None:
    """Do nothing for some time."""
    Event().wait(seconds)


def _may_be_in_between(aggregate: Aggregate) -> bool:
    """Return whether a coordinator may be needed: as this side knows, or as the other side may, asked now and then."""
    if owners.between_here(aggregate):
        return True
    if not owners.owns_elsewhere(aggregate):
        return False
    now = monotonic()
    due = now - _peer_asked.get(aggregate.name, -PEER_SECONDS) >= PEER_SECONDS
    if due:
        _peer_asked[aggregate.name] = now
    return due


_peer_asked: dict[str, float] = {}
"""When this process last had the other side of an aggregate asked."""


def _hint(task: "Task[..., Any]", *args: Any) -> None:
    """Say that there may be work. A hint that nobody takes in time is worth nothing: the next sweep says the same."""
    task.apply_async(args, expires=HINT_SECONDS)


def _go_on(task: "Task[..., Any]", *args: Any) -> None:
    """Hint at the next stretch of the same work, so that nothing waits for the next sweep."""
    if task.request.called_directly or task.request.is_eager:
        return
    try:
        _hint(task, *args)
    except (OSError, OperationalError) as error:
        logger.warning("%s: the broker is away, the next sweep goes on: %s", task.name, error)


def _alone(what: str, name: str, work: Callable[[Aggregate, Callable[[], None]], str]) -> str:
    """Do a piece of work unless another process is at it."""
    aggregate = find(name)
    try:
        with leases.held(aggregate.alias, what, conf().lease_seconds) as lease:
            return work(aggregate, lease.renew)
    except Busy as busy:
        return str(busy)
    except SyncError as error:
        logger.error("%s: %s", what, error)
        return str(error)
