"""Stop calling an upstream that fails or drags, and find out with one call at a time when it is well again.

pybreaker keeps the state and counts consecutive failures. Each call is reported to it in one short ``calling()`` after
it has ended, so that no lock is held while a request is under way, an excluded error is no success, and an answer from
before the last change of state changes nothing.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pybreaker

from router import metrics, snapshot
from router.conf import BreakerSettings, conf
from router.exceptions import StranglerError
from router.forwarding.client import BodyStream
from router.forwarding.messages import BodyUnreadable, Upstream, UpstreamResponse

CLOSED = pybreaker.STATE_CLOSED
OPEN = pybreaker.STATE_OPEN
HALF_OPEN = pybreaker.STATE_HALF_OPEN
SLICES = 10
"""Parts of the rolling window; a part is forgotten as a whole."""
PROBE_LEASE_SECONDS = 30.0
"""A probe whose thread vanished makes room for the next after this."""


class BreakerOpen(StranglerError):
    """The upstream is not called at the moment; ``retry_after`` seconds from now it may be."""

    def __init__(self, upstream: str, retry_after: float, reason: str) -> None:
        super().__init__(f"upstream {upstream}: the circuit breaker is open ({reason}), retry in {retry_after:.1f} s")
        self.upstream = upstream
        self.retry_after = retry_after
        self.reason = reason
        self.cause = "breaker_open"


class _Reported(Exception):
    """A failure on its way into pybreaker."""


@dataclass
class _Slice:
    number: int = -1
    calls: int = 0
    failures: int = 0
    slow: int = 0


class Window:
    """How many of the calls of the last seconds failed or were slow."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._width = seconds / SLICES
        self._clock = clock
        self._slices = [_Slice() for _ in range(SLICES)]

    def add(self, *, failed: bool, slow: bool) -> None:
        """Count one call that ended now."""
        number = int(self._clock() / self._width)
        part = self._slices[number % SLICES]
        if part.number != number:
            part.number, part.calls, part.failures, part.slow = number, 0, 0, 0
        part.calls += 1
        part.failures += failed
        part.slow += slow

    def totals(self) -> tuple[int, int, int]:
        """Return the calls of the window, the failed and the slow ones among them."""
        oldest = int(self._clock() / self._width) - SLICES + 1
        parts = [part for part in self._slices if part.number >= oldest]
        return sum(p.calls for p in parts), sum(p.failures for p in parts), sum(p.slow for p in parts)

    def clear(self) -> None:
        """Forget all calls."""
        for part in self._slices:
            part.number = -1


@dataclass
class Call:
    """One call under way; what happens to it afterwards can still be told to the breaker."""

    breaker: "Breaker"
    generation: int
    started: float
    probe: bool

    def watch(self, response: UpstreamResponse) -> UpstreamResponse:
        """Count it as a failure if the streamed body breaks off after the call has ended."""
        if isinstance(response.body, BodyStream):
            response.body.on_failure = lambda failure: self.breaker.count(self, failed=True)
        return response


class _Listener(pybreaker.CircuitBreakerListener):
    def __init__(self, breaker: "Breaker") -> None:
        self._breaker = breaker

    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        self._breaker.moved(old_state.name if old_state is not None else CLOSED, new_state.name)


class Breaker:
    """The breaker of one upstream in one process."""

    def __init__(
        self,
        *,
        service: str,
        store: str,
        name: str,
        settings: BreakerSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.service = service
        self.store = store
        self.name = name
        self.settings = settings
        self._clock = clock
        self._lock = threading.RLock()
        self._window = Window(settings.window_seconds, clock)
        self._generation = 0
        self._retry_at = 0.0
        self._probe_until = 0.0
        self._reason = ""
        self._circuit = pybreaker.CircuitBreaker(
            fail_max=settings.fail_max,
            reset_timeout=settings.reset_seconds,
            name=name,
            throw_new_error_on_trip=False,
            listeners=[_Listener(self)],
        )

    @property
    def state(self) -> str:
        """Return ``closed``, ``open`` or ``half-open``, as measured; a forced state does not show here."""
        return str(self._circuit.current_state)

    @property
    def resting(self) -> bool:
        """Return whether nobody is to call now, so that a call need not even be prepared; takes no lock."""
        return self._clock() < self._retry_at and self.state == OPEN

    @property
    def reason(self) -> str:
        """Return why it opened last, empty if it never did."""
        return self._reason

    @property
    def forced(self) -> str | None:
        """Return the state an operator holds this breaker in, None if none does."""
        return snapshot.current().breakers_forced.get((self.service, self.store))

    @contextmanager
    def calling(self) -> Iterator[Call]:
        """Guard one call; raise ``BreakerOpen`` instead if the upstream is not to be called.

        An error of the toolkit counts as a failure, except a client that broke off; other errors count as nothing.
        """
        call = self._admit()
        try:
            yield call
        except BodyUnreadable:
            self._release(call)
            raise
        except StranglerError as error:
            self.count(call, failed=True, reason=str(error))
            raise
        except BaseException:
            self._release(call)
            raise
        self.count(call, failed=False)

    def count(self, call: Call, *, failed: bool, reason: str = "") -> None:
        """Take note of how a call ended, unless the state has changed since it began."""
        slow = self._clock() - call.started >= self.settings.slow_seconds
        with self._lock:
            if call.generation != self._generation:
                return
            self._release(call)
            self._window.add(failed=failed, slow=slow)
            if failed:
                self._reason = reason
            if failed or self.state != CLOSED or self._circuit.fail_counter:
                self._report(failed)
            if (failed or slow) and self.state == CLOSED:
                self._judge_window()

    def moved(self, previous: str, state: str) -> None:
        """Start a new generation; called by pybreaker, under our lock."""
        if previous == state:
            return
        self._generation += 1
        self._probe_until = 0.0
        if state == OPEN:
            self._retry_at = self._clock() + self.settings.reset_seconds
        if state != HALF_OPEN:
            self._window.clear()
        reasons = {
            OPEN: self._reason or "failures",
            HALF_OPEN: "one probe is let through",
            CLOSED: "the probe was answered",
        }
        metrics.record_event(
            service=self.service, upstream=self.name, previous=previous, state=state, reason=reasons[state]
        )

    def _admit(self) -> Call:
        forced = self.forced
        if forced == "open":
            raise BreakerOpen(self.name, self.settings.reset_seconds, "held open by an operator")
        with self._lock:
            now = self._clock()
            if forced == "closed" or self.state == CLOSED:
                return Call(self, self._generation, now, probe=False)
            if self.state == OPEN:
                if now < self._retry_at:
                    raise BreakerOpen(self.name, self._retry_at - now, self._reason or "failures")
                self._circuit.half_open()
            if now < self._probe_until:
                raise BreakerOpen(self.name, 1.0, "a probe is under way")
            self._probe_until = now + PROBE_LEASE_SECONDS
            return Call(self, self._generation, now, probe=True)

    def _report(self, failed: bool) -> None:
        with suppress(_Reported, pybreaker.CircuitBreakerError), self._circuit.calling():
            if failed:
                raise _Reported

    def _release(self, call: Call) -> None:
        with self._lock:
            if call.probe and call.generation == self._generation:
                self._probe_until = 0.0

    def _judge_window(self) -> None:
        calls, failures, slow = self._window.totals()
        settings = self.settings
        if calls < settings.min_calls:
            return
        if failures >= settings.failure_rate * calls:
            self._reason = f"{failures} of {calls} calls failed: {self._reason}"
        elif slow >= settings.slow_rate * calls:
            self._reason = f"{slow} of {calls} calls took {settings.slow_seconds} s or longer"
        else:
            return
        self._circuit.open()


class _Breakers:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.by_name: dict[str, Breaker] = {}


_breakers = _Breakers()


def breaker_for(upstream: Upstream, purpose: str = "") -> Breaker:
    """Return this process's breaker of an upstream; another ``purpose`` (``shadow``) has one of its own."""
    name = f"{upstream.name}.{purpose}" if purpose else upstream.name
    settings = conf().service(upstream.service).breaker
    breaker = _breakers.by_name.get(name)
    if breaker is None or breaker.settings is not settings:
        with _breakers.lock:
            breaker = _breakers.by_name.get(name)
            if breaker is None or breaker.settings != settings:
                breaker = Breaker(service=upstream.service, store=upstream.store, name=name, settings=settings)
                _breakers.by_name[name] = breaker
            breaker.settings = settings
    return breaker


def breakers(service: str) -> list[Breaker]:
    """Return the breakers of a service that this process has used."""
    return [breaker for _, breaker in sorted(_breakers.by_name.items()) if breaker.service == service]


def reset() -> None:
    """Forget all breakers; for tests, and for a forked child, which makes its own experience."""
    global _breakers
    _breakers = _Breakers()


os.register_at_fork(after_in_child=reset)
