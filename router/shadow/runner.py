"""Ask the service what legacy has just answered, and find out whether a difference is real."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from time import monotonic

from router.breaker import BreakerOpen
from router.exceptions import StranglerError
from router.metrics import Outcome
from router.shadow.compare import Answer, Difference, compare

Ask = Callable[[], Answer]
Guard = Callable[[], AbstractContextManager[object]]

MAX_ROUNDS = 3
"""How often the sandwich of service, legacy, service is asked before a moving answer counts as CHANGED."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A request that legacy has answered, and how to ask either side again."""

    service: str
    store: str
    route: str
    method: str
    path: str
    legacy: Answer
    ask_service: Ask
    ask_legacy: Ask
    ignore: tuple[str, ...] = ()
    """Fields that may differ, see ``compare``."""
    submitted: float = field(default_factory=monotonic)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a comparison came to."""

    outcome: Outcome
    cause: str = ""
    """Why there was an error or a drop: a short code."""
    differences: tuple[Difference, ...] = ()
    rounds: int = 0
    seconds: float = 0.0
    """How long the service took for its first answer."""


class ServiceFailed(StranglerError):
    """The service answered with a server error where legacy did not."""

    def __init__(self, status: int) -> None:
        super().__init__(f"The service answered {status}.")
        self.cause = f"status_{status}"


class NotCompared(StranglerError):
    """There is nothing to compare, through no fault of either side; ``cause`` says why in a short code."""

    def __init__(self, cause: str, message: str = "") -> None:
        super().__init__(message)
        self.cause = cause


def run(job: Job, *, guard: Guard = nullcontext, max_bytes: int = 262_144, deadline: float | None = None) -> Verdict:
    """Compare the sides; whatever either of them does becomes a verdict, never an exception."""
    comparison = _Comparison(job, guard, max_bytes, deadline)
    try:
        return comparison.verdict()
    except (NotCompared, BreakerOpen) as why:
        return Verdict(outcome=Outcome.DROPPED, cause=why.cause, rounds=comparison.rounds)
    except Exception as error:
        cause = str(getattr(error, "cause", type(error).__name__))
        return Verdict(outcome=Outcome.ERROR, cause=cause, rounds=comparison.rounds, seconds=comparison.seconds)


class _Comparison:
    """One job on its way to a verdict."""

    def __init__(self, job: Job, guard: Guard, max_bytes: int, deadline: float | None) -> None:
        self.job = job
        self.guard = guard
        self.max_bytes = max_bytes
        self.deadline = deadline
        self.rounds = 0
        self.seconds = 0.0

    def verdict(self) -> Verdict:
        self._bounded(self.job.legacy)
        started = monotonic()
        try:
            first = self._service()
        finally:
            self.seconds = monotonic() - started
        if not self._differ(self.job.legacy, first):
            return Verdict(outcome=Outcome.MATCH, seconds=self.seconds)
        while self.rounds < MAX_ROUNDS:
            self.rounds += 1
            before, legacy, after = self._service(), self._legacy(), self._service()
            if compare(before, after, self.job.ignore):
                continue  # the data moves under our eyes
            differences = self._differ(legacy, after)
            outcome = Outcome.MISMATCH if differences else Outcome.CHANGED
            return Verdict(outcome=outcome, differences=differences, rounds=self.rounds, seconds=self.seconds)
        return Verdict(outcome=Outcome.CHANGED, rounds=self.rounds, seconds=self.seconds)

    def _differ(self, legacy: Answer, extracted: Answer) -> tuple[Difference, ...]:
        return compare(legacy, extracted, self.job.ignore)

    def _service(self) -> Answer:
        self._in_time()
        with self.guard():
            answer = self.job.ask_service()
            if answer.status >= 500 and self.job.legacy.status < 500:
                raise ServiceFailed(answer.status)
        return self._bounded(answer)

    def _legacy(self) -> Answer:
        self._in_time()
        try:
            answer = self.job.ask_legacy()
        except NotCompared:
            raise
        except Exception as error:
            raise NotCompared("legacy_failed", str(error)) from error
        if answer.status >= 500 > self.job.legacy.status:
            raise NotCompared("legacy_failed", f"legacy answered {answer.status} when it was asked again")
        return self._bounded(answer)

    def _bounded(self, answer: Answer) -> Answer:
        if len(answer.body) > self.max_bytes:
            raise NotCompared("too_large")
        return answer

    def _in_time(self) -> None:
        if self.deadline is not None and monotonic() >= self.deadline:
            raise NotCompared("deadline")
