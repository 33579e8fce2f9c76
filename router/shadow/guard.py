"""Switch shadowing off by itself where it could be in the way, and on again: a slow side, memory that runs short."""

import logging
import os
import threading
from time import monotonic

from router import metrics, poller
from router.conf import conf
from router.metrics import Outcome
from router.shadow.memory import Memory
from router.shadow.pace import Pace

logger = logging.getLogger("router.shadow")

SLOWED_DOWN = "slowed_down"
MEMORY = "memory"
LOOK_SECONDS = 1.0
"""How often memory is looked at, at most."""
EVERY_SERVICE = "*"
"""Whom a switch concerns that is not about one service."""


class _State:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.paces: dict[tuple[str, str], Pace] = {}
        self.memory = Memory()
        self.looked = 0.0


_state = _State()


def observe(service: str, route: str, side: str, seconds: float) -> None:
    """Take note of how long a side, legacy or a store of the service, took for a client's read."""
    pace = _pace(service, side)
    if pace.observe(route, seconds):
        why = f"{side} takes {pace.ratio:.1f} times as long as usual" if pace.slow else f"{side} answers as usual"
        _switched(service, side, SLOWED_DOWN, off=pace.slow, why=why)


def cause(service: str, side: str) -> str:
    """Return why nothing that this side answers is compared at the moment, empty if it is."""
    state = _state
    if state.memory.short:
        return MEMORY
    pace = state.paces.get((service, side))
    return SLOWED_DOWN if pace is not None and pace.slow else ""


def look_at_memory() -> None:
    """Read how much memory is used, unless that was done a moment ago; never on a request's time."""
    state, now = _state, monotonic()
    if now - state.looked < LOOK_SECONDS:
        return
    state.looked = now
    settings = conf().shadow
    if state.memory.look(share=settings.memory_share, rss_bytes=settings.rss_bytes):
        off = state.memory.short
        used, mebibytes = state.memory.used_share(), state.memory.resident() >> 20
        why = f"{used:.0%} of the memory is used, {mebibytes} MiB by this process"
        for service in conf().services or (EVERY_SERVICE,):
            _switched(service, "", MEMORY, off=off, why=why)


def install() -> None:
    """Look at memory in the background."""
    poller.every_poll("shadow memory", look_at_memory)


def reset() -> None:
    """Forget what was observed; for tests, and for a forked child, which makes its own experience."""
    global _state
    _state = _State()


def use_memory(memory: Memory) -> None:
    """Take another view of the memory, and look at it with the next opportunity; for tests."""
    _state.memory, _state.looked = memory, 0.0


def _pace(service: str, side: str) -> Pace:
    settings = conf().shadow
    pace = _state.paces.get((service, side))
    if pace is None or (pace.factor, pace.window) != (settings.slow_factor, settings.slow_window_seconds):
        with _state.lock:
            pace = Pace(factor=settings.slow_factor, window=settings.slow_window_seconds)
            _state.paces[service, side] = pace
    return pace


def _switched(service: str, side: str, why_code: str, *, off: bool, why: str) -> None:
    """Say and count that shadowing was switched."""
    state = "off" if off else "on"
    (logger.warning if off else logger.info)("shadowing of %s is switched %s (%s): %s", service, state, why_code, why)
    metrics.record(
        service=service,
        route="",
        kind="read",
        side="shadow",
        outcome=Outcome.SWITCHED,
        seconds=0.0,
        cause=f"{state}:{why_code}",
        store=side,
    )


os.register_at_fork(after_in_child=reset)
