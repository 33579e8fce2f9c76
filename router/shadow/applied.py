"""Which rules hold for a comparison now: those declared beside its route, and those that people have recorded."""

import functools
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from time import monotonic

from router import registry
from router.comparing.errors import RuleMistake
from router.comparing.paths import FieldPath
from router.comparing.rules import NO_RULES, Rules
from router.conf import ShadowSettings
from router.models.shadow import ShadowRule
from router.shadow.noise import sampler
from router.shadow.runner import Job

logger = logging.getLogger(__name__)

FRESH_SECONDS = 2.0
"""How long recorded rules are believed; then the next comparison has them read again, off the request path."""
READS = frozenset({"GET", "HEAD", "SEAM"})
"""Methods that are asked twice; a write is never made a second time."""
EVERY_ROUTE = ""
"""The route of a recorded rule that holds for all of its service's."""

Recorded = Mapping[tuple[str, str], tuple[str, ...]]
"""Ignored paths by service and route."""


def prepared(job: Job, settings: ShadowSettings) -> Job:
    """Return a comparison with the rules of now, and with the decision whether noise is measured."""
    declared = job.rules if job.rules is not NO_RULES else declared_for(job.service, job.route)
    twice = job.rounds == 0 and job.method in READS and sampler.picks(job, settings.noise_share)
    return replace(job, rules=with_recorded(declared, job.service, job.route), ask_twice=twice)


def declared_for(service: str, route: str) -> Rules:
    """Return the rules declared beside a route; none for a route that nobody declares."""
    return next((one.compare for one in registry.routes() if (one.service, one.name) == (service, route)), NO_RULES)


def rules_now(service: str, route: str) -> Rules:
    """Return the rules that hold for a route now, by name: those of a seam are declared with its operation."""
    return with_recorded(declared_for(service, route), service, route)


def with_recorded(declared: Rules, service: str, route: str) -> Rules:
    """Return declared rules with the recorded ones besides."""
    recorded = _recorded.now()
    return _joined(declared, (*recorded.get((service, EVERY_ROUTE), ()), *recorded.get((service, route), ())))


@functools.lru_cache(maxsize=512)
def _joined(declared: Rules, paths: tuple[str, ...]) -> Rules:
    return declared.also_ignoring(paths)


class _Cache:
    """The recorded rules as this process last read them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: Recorded = {}
        self._read_at: float | None = None
        self._unreadable = False

    def now(self) -> Recorded:
        """Return the rules, read anew if they are old; if they cannot be read the last ones hold on."""
        with self._lock:
            if self._read_at is None or monotonic() - self._read_at > FRESH_SECONDS:
                self._refresh()
                self._read_at = monotonic()
            return self._known

    def _refresh(self) -> None:
        try:
            self._known = read()
            self._unreadable = False
        except Exception:
            if not self._unreadable:  # told once, not every two seconds of an outage
                logger.warning("The recorded comparison rules cannot be read; the last ones hold.", exc_info=True)
            self._unreadable = True

    def forget(self) -> None:
        """Have the next comparison read them."""
        self._read_at = None


def read() -> Recorded:
    """Read the recorded rules that hold."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for rule in ShadowRule.objects.filter(removed_at=None).order_by("pk"):
        try:
            FieldPath.parse(rule.path)
        except RuleMistake as mistake:
            logger.warning("The recorded rule %s is left out: %s", rule.pk, mistake)
            continue
        place = (rule.service, rule.route)
        found[place] = (*found.get(place, ()), rule.path)
    return found


def forget() -> None:
    """Have the recorded rules read again with the next comparison."""
    _recorded.forget()


_recorded = _Cache()


def _after_fork() -> None:
    """Forget the parent's cache with its lock, which may be held."""
    global _recorded
    _recorded = _Cache()


os.register_at_fork(after_in_child=_after_fork)
