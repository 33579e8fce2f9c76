"""Compare answers off the request path: few threads, a bounded queue, the newest dropped when it is full."""

import logging
import os
import threading
from dataclasses import replace
from time import monotonic

from django.db import close_old_connections, connections

from router import metrics
from router.breaker import breaker_for
from router.conf import ShadowSettings, conf
from router.exceptions import ConfigurationError, UnknownService
from router.metrics import Outcome
from router.shadow import applied, store, tally
from router.shadow.runner import Job, Later, Verdict, run
from router.shadow.waiting import Waiting
from router.upstreams import upstream_for

logger = logging.getLogger(__name__)

SIDE = "shadow"
JOB_DEADLINES = 3
"""A whole comparison, with all its rounds, may take this many times as long as one shadow request."""


class ShadowPool:
    """The threads and the queue of one process."""

    def __init__(self, settings: ShadowSettings) -> None:
        self.settings = settings
        self._waiting = Waiting(settings.queue)
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def submit(self, job: Job) -> bool:
        """Queue a comparison; return False and count it as dropped if there is no room."""
        if len(job.given.body) > self.settings.max_bytes:
            drop(job, "too_large")
            return False
        if not self._waiting.add(job):
            drop(job, "queue_full")
            return False
        if len(self._threads) < self.settings.workers:
            self._add_thread()
        return True

    def drain(self, timeout: float) -> bool:
        """Wait until everything queued is done, at most ``timeout`` seconds; return whether it is."""
        return self._waiting.drain(timeout)

    def stop(self) -> None:
        """Let the threads end after what is queued; what was to be asked again later is not."""
        self._waiting.close()

    def _add_thread(self) -> None:
        with self._lock:
            if len(self._threads) < self.settings.workers:
                name = f"strangler-shadow-{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                thread.start()
                self._threads.append(thread)

    def _work(self) -> None:
        try:
            while (job := self._waiting.take()) is not None:
                self._work_on(job)
                self._waiting.done()
        finally:
            connections.close_all()

    def _work_on(self, job: Job) -> None:
        try:
            self._compare(job)
        except Exception:
            logger.exception("The comparison of %s %s failed", job.method, job.path.partition("?")[0])
        finally:
            close_old_connections()

    def _compare(self, job: Job) -> None:
        settings = self.settings
        if monotonic() - job.submitted > settings.deadline_seconds:
            drop(job, "expired")
            return
        try:
            upstream = upstream_for(job.service, job.store)
        except (ConfigurationError, UnknownService):
            drop(job, "misconfigured")
            return
        job = applied.prepared(job, settings)
        verdict = run(
            job,
            guard=breaker_for(upstream, purpose="shadow").calling,
            max_bytes=settings.max_bytes,
            deadline=monotonic() + JOB_DEADLINES * settings.deadline_seconds,
        )
        if isinstance(verdict, Later):
            self._postpone(verdict.job)
            return
        count(job, verdict)
        if verdict.outcome in {Outcome.MISMATCH, Outcome.ERROR}:
            store.save(job, verdict, settings)

    def _postpone(self, job: Job) -> None:
        """Ask again once the copy's store has had the time to follow; no thread waits for it meanwhile."""
        due = monotonic() + self.settings.lag_seconds
        if not self._waiting.postpone(replace(job, submitted=due), due):
            drop(job, "queue_full")


def count(job: Job, verdict: Verdict) -> None:
    """Count what a comparison came to."""
    tally.count(job, verdict)
    metrics.record(
        service=job.service,
        route=job.route,
        kind="read",
        side=SIDE,
        outcome=verdict.outcome,
        seconds=verdict.seconds,
        cause=verdict.cause,
        store=job.store,
    )


def drop(job: Job, cause: str) -> None:
    """Count a comparison that is not made."""
    not_compared(service=job.service, route=job.route, store=job.store, cause=cause)


def not_compared(*, service: str, route: str, store: str, cause: str) -> None:
    """Count a read that was to be compared and cannot be."""
    metrics.record(
        service=service,
        route=route,
        kind="read",
        side=SIDE,
        outcome=Outcome.DROPPED,
        seconds=0.0,
        cause=cause,
        store=store,
    )


_pool: ShadowPool | None = None
_lock = threading.Lock()


def submit(job: Job) -> bool:
    """Queue a comparison in this process's pool; never raises and never waits."""
    try:
        return current().submit(job)
    except Exception:
        logger.exception("The comparison of %s %s could not be queued", job.method, job.path.partition("?")[0])
        return False


def current() -> ShadowPool:
    """Return this process's pool, made with the settings of its first use."""
    global _pool
    settings = conf().shadow
    pool = _pool
    if pool is None or pool.settings is not settings:
        with _lock:
            if _pool is None or _pool.settings != settings:
                _pool = ShadowPool(settings)
            _pool.settings = settings
            pool = _pool
    return pool


def reset() -> None:
    """Stop and forget the pool; the next comparison makes another."""
    global _pool
    with _lock:
        pool, _pool = _pool, None
    if pool is not None:
        pool.stop()


def _after_fork() -> None:
    """Forget the parent's pool, whose threads do not exist here, and its lock, which may be held."""
    global _pool, _lock
    _pool = None
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
