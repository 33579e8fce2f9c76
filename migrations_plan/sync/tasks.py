"""Celery's part: hints that there is work. Losing every one of them, or getting each twice, changes only the delay."""

import logging
from collections.abc import Callable
from threading import Event
from time import monotonic

from celery import shared_task

from migrations_plan.sync import backfill, lag, leases, verify
from migrations_plan.sync.aggregates import Aggregate, declared, find
from migrations_plan.sync.capture import upkeep
from migrations_plan.sync.conf import conf
from migrations_plan.sync.errors import Busy, SyncError
from migrations_plan.sync.relay import relay_for
from migrations_plan.sync.sides import directions

logger = logging.getLogger("strangler.sync")

RELAY_SECONDS = 3.0
"""A relay stays this long, looking for changes all the time; the beat sends the next one."""
WORK_SECONDS = 3.0
"""Backfill and verification give way to other tasks after this."""


@shared_task(name="strangler_sync.sweep", ignore_result=True)
def sweep() -> None:
    """Look at every aggregate of this program that is synced, and have done what there is to do."""
    for aggregate in declared():
        if aggregate.name not in conf().peers or not upkeep.installed(aggregate):
            continue
        upkeep.mend(aggregate)
        for way in (0, 1):
            relay.delay(aggregate.name, way)
        standing = backfill.standing(aggregate)
        if standing is not None and standing.finished_at is None:
            work_backfill.delay(aggregate.name)
        if verify.unfinished(aggregate):
            work_verification.delay(aggregate.name)


@shared_task(name="strangler_sync.relay", ignore_result=True)
def relay(name: str, way: int) -> str:
    """Relay one way of an aggregate (0: out of this side, 1: into it) for some seconds, unless somebody does."""

    def work(aggregate: Aggregate, renew: Callable[[], None]) -> str:
        report = relay_for(aggregate, directions(name)[way], RELAY_SECONDS, renew=renew, wait=pause)
        if report.away:
            pause(min(report.retry_after, RELAY_SECONDS))
        return str(report)

    return _alone(f"relay {name} {way}", name, work)


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
    while monotonic() < until and verify.work_next(aggregate, here, there):
        done += 1
    return f"{done} ranges compared"


@shared_task(name="strangler_sync.purge", ignore_result=True)
def purge() -> int:
    """Forget old histograms of lag."""
    return sum(lag.purge(alias) for alias in sorted({aggregate.alias for aggregate in declared()}))


def pause(seconds: float) -> None:
    """Do nothing for some time."""
    Event().wait(seconds)


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
