"""Compare answers off the request path: few threads, a bounded queue, the newest dropped when it is full."""

import atexit
import logging
import os
import threading
from dataclasses import replace
from time import monotonic

from django.db import close_old_connections, connections

from router import metrics
from router.breaker import Breaker, breaker_for
from router.conf import ShadowSettings, conf
from router.exceptions import ConfigurationError, UnknownService
from router.forward import Upstream
from router.holders import LEGACY
from router.metrics import Outcome
from router.shadow import applied, guard, store, tally
from router.shadow.runner import Job, Later, Verdict, run
from router.shadow.waiting import Budget, Waiting
from router.shadow.yielding import give_way
from router.upstreams import upstream_for

logger = logging.getLogger(__name__)

SIDE = "shadow"
THREAD_NAME = "strangler-shadow-"
JOB_DEADLINES = 3
"""A whole comparison, with all its rounds, may take this many times as long as one shadow request."""
STOP_SECONDS = 3.0
"""How long a stop waits for threads, which may be waiting for a service; they are daemons and hold up nothing."""


class ShadowPool:
    """The threads and the queue of one process."""

    def __init__(self, settings: ShadowSettings) -> None:
        self.settings = settings
        self.budget = Budget(settings.queue_bytes)
        self._waiting = Waiting(settings.queue, self.budget)
        self._threads: list[threading.Thread] = []
        self._breakers: dict[tuple[str, str], Breaker] = {}
        """As they were found last, by service and store."""
        self._lock = threading.Lock()

    def submit(self, job: Job) -> bool:
        """Queue a comparison; return False and count it as dropped if there is no room."""
        cause = self._refusal(job) or self._waiting.add(job)
        if cause:
            drop(job, cause)
            return False
        if len(self._threads) < self.settings.workers:
            self._add_thread()
        return True

    def _refusal(self, job: Job) -> str:
        """Return why the comparison is not even queued, empty if it may be."""
        if len(job.given.body) > self.settings.max_bytes:
            return "too_large"
        if job.request_bytes > self.settings.max_request_bytes:
            return "request_too_large"
        return self.closed(job.service, job.store, job.answered_by)

    def closed(self, service: str, store: str, answered_by: str) -> str:
        """Return why no comparison of this kind is made now, before one is put together; empty if it may be."""
        if self._waiting.full:
            return "queue_full"
        breaker = self._breakers.get((service, store))
        if breaker is not None and breaker.resting:
            return "breaker_open"
        return guard.cause(service, answered_by)

    def drain(self, timeout: float) -> bool:
        """Wait until everything queued is done, at most ``timeout`` seconds; return whether it is."""
        return self._waiting.drain(timeout)

    def stop(self, wait_seconds: float = 0.0) -> bool:
        """Let the threads end after what they are at, and drop what is queued; return whether all have ended."""
        for job in self._waiting.close():
            drop(job, "stopped")
        until = monotonic() + wait_seconds
        with self._lock:
            threads = [thread for thread in self._threads if thread is not threading.current_thread()]
        for thread in threads:
            thread.join(max(0.0, until - monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _add_thread(self) -> None:
        with self._lock:
            if len(self._threads) < self.settings.workers:
                name = f"{THREAD_NAME}{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                thread.start()
                self._threads.append(thread)

    def _work(self) -> None:
        try:
            while (job := self._waiting.take()) is not None:
                try:
                    cause = self._too_late(job)
                    if cause:
                        drop(job, cause)
                    else:
                        self._work_on(job)
                finally:
                    self._waiting.done(job)
        finally:
            connections.close_all()

    def _too_late(self, job: Job) -> str:
        """Return why the comparison is not made after all; many may be dropped at once, so this is cheap."""
        if monotonic() - job.submitted > self.settings.deadline_seconds:
            return "expired"
        return guard.cause(job.service, job.answered_by)

    def _work_on(self, job: Job) -> None:
        give_way()
        try:
            guard.look_at_memory()
            self._compare(job)
        except Exception:
            logger.exception("The comparison of %s %s failed", job.method, job.path.partition("?")[0])
        finally:
            close_old_connections()

    def _compare(self, job: Job) -> None:
        settings = self.settings
        try:
            breaker = self._breakers[job.service, job.store] = breaker_of(job)
        except (ConfigurationError, UnknownService):
            drop(job, "misconfigured")
            return
        job = applied.prepared(job, settings)
        verdict = run(
            job,
            guard=breaker.calling,
            max_bytes=settings.max_bytes,
            deadline=monotonic() + JOB_DEADLINES * settings.deadline_seconds,
        )
        if isinstance(verdict, Later):
            self._postpone(verdict.job)
            return
        give_way()
        count(job, verdict)
        store.save(job, verdict, settings)

    def _postpone(self, job: Job) -> None:
        """Ask again once the copy's store has had the time to follow; no thread waits for it meanwhile."""
        due = monotonic() + self.settings.lag_seconds
        cause = self._waiting.postpone(replace(job, submitted=due), due)
        if cause:
            drop(job, cause)


def breaker_of(job: Job) -> Breaker:
    """Return the breaker of copies to whoever gets this one; the clients of that side do not notice it."""
    if job.store == LEGACY:
        upstream = Upstream(service=job.service, store=LEGACY, base_url="")
    else:
        upstream = upstream_for(job.service, job.store)
    return breaker_for(upstream, purpose="shadow")


def count(job: Job, verdict: Verdict) -> None:
    """Count what a comparison came to."""
    tally.count(job, verdict)
    metrics.record(
        service=job.service,
        route=job.route,
        kind=job.kind,
        side=SIDE,
        outcome=verdict.outcome,
        seconds=verdict.seconds,
        cause=verdict.cause,
        store=job.store,
    )


def drop(job: Job, cause: str) -> None:
    """Count a comparison that is not made."""
    not_compared(service=job.service, route=job.route, store=job.store, cause=cause, kind=job.kind)


def closed(service: str, store: str, answered_by: str) -> str:
    """Return why no comparison of this kind is made at the moment, empty if it may be."""
    return current().closed(service, store, answered_by)


def not_compared(*, service: str, route: str, store: str, cause: str, kind: str = "read") -> None:
    """Count a request that was to be compared and cannot be."""
    metrics.record(
        service=service,
        route=route,
        kind=kind,
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
        outdated: ShadowPool | None = None
        with _lock:
            if _pool is None or _pool.settings != settings:
                outdated, _pool = _pool, ShadowPool(settings)
            _pool.settings = settings
            pool = _pool
        if outdated is not None:
            outdated.stop()
    return pool


def threads() -> list[threading.Thread]:
    """Return the threads of this process that compare, for whoever wants to see them end."""
    return [thread for thread in threading.enumerate() if thread.name.startswith(THREAD_NAME)]


def reset() -> None:
    """Stop and forget the pool, and what its guard has observed; the next comparison makes another."""
    global _pool
    with _lock:
        pool, _pool = _pool, None
    if pool is not None:
        pool.stop(STOP_SECONDS)
    guard.reset()


def install() -> None:
    """Watch memory in the background, and let the threads end with the process."""
    guard.install()
    atexit.unregister(_at_exit)
    atexit.register(_at_exit)


def _at_exit() -> None:
    """Let the threads end before the interpreter does: it would kill them in the middle of what they are at."""
    pool = _pool
    if pool is not None:
        pool.stop(STOP_SECONDS)


def _after_fork() -> None:
    """Forget the parent's pool, whose threads do not exist here, and its lock, which may be held."""
    global _pool, _lock
    _pool = None
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
