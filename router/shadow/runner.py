"""Ask one side what another has just answered, and find out whether a difference is real."""

import logging
import zlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from time import monotonic

from router.breaker import BreakerOpen
from router.comparing.rules import NO_RULES, Rules
from router.exceptions import StranglerError
from router.holders import LEGACY as LEGACY
from router.metrics import Outcome
from router.shadow import steady
from router.shadow.compare import Answer, Difference, bounded, every_difference
from router.shadow.yielding import give_way, waited

logger = logging.getLogger(__name__)

Ask = Callable[[], Answer]
Guard = Callable[[], AbstractContextManager[object]]

MAX_ROUNDS = 3
"""How often both sides are asked again before a moving answer counts as CHANGED."""
ANY_ZLIB = zlib.MAX_WBITS | 32
"""Lets zlib find out by itself whether it is gzip or deflate."""
ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})


@dataclass(frozen=True, kw_only=True)
class Job:
    """A request that was answered, how to ask for the answer again, and how to ask the store that gets a copy."""

    service: str
    store: str
    """Which of the service's stores gets the copy."""
    route: str
    method: str
    path: str
    given: Answer
    """What the client was given."""
    ask_copy: Ask
    ask_again: Ask
    """Ask the side that gave the answer."""
    answered_by: str = LEGACY
    """That side: legacy, or another store of the service."""
    follows: bool = False
    """Whether the copy's store has data of its own, which follows the other's a moment later."""
    behind: Callable[[], bool] | None = None
    """Tells whether a change is still on its way to such a store; None where nobody can tell."""
    patience: float = 30.0
    """Seconds for which such a store may be behind before there is nothing to compare."""
    rounds: int = 0
    """How often both were asked again already."""
    ignore: tuple[str, ...] = ()
    """Fields that may differ in this comparison, besides what the rules say."""
    rules: Rules = NO_RULES
    """What of the answers has to agree."""
    ask_twice: bool = False
    """Whether the side that answered is asked a second time, to learn how much it differs from itself."""
    subject: str = ""
    """The client's primary key as text; empty for an anonymous one."""
    raw: frozenset[str] = frozenset()
    """The fields that differed when both were first compared."""
    noise: frozenset[str] | None = None
    """The fields in which the side that answered differed from itself; None if it was not asked."""
    submitted: float = field(default_factory=monotonic)
    given_at: float = field(default_factory=monotonic)
    """When the answer was given that the copy is compared with."""
    kind: str = "read"
    """A write's copy is a dry-run."""
    completed: Callable[[Answer], Answer] | None = None
    """Adds to what the client was given what else is compared; called once there is a copy."""
    request_bytes: int = 0
    """How much of the request is kept, to be sent again."""

    @property
    def weight(self) -> int:
        """Return how many bytes the comparison holds while it waits."""
        return len(self.given.body) + len(self.path) + self.request_bytes


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
    raw: frozenset[str] = frozenset()
    """The fields that differed when both were first compared, whatever came of that."""
    noise: frozenset[str] | None = None
    """The fields in which the side that answered differed from itself; None if it was not asked twice."""
    unsteady: tuple[Difference, ...] = ()
    """What differed in the copy at first and then no more, though the side that answered had not moved."""


@dataclass(frozen=True, kw_only=True)
class Later:
    """There is a difference that may only be lag: both are to be asked again after a moment."""

    job: Job


class ServiceFailed(StranglerError):
    """The service answered with a server error where the client was given none."""

    def __init__(self, status: int) -> None:
        super().__init__(f"The service answered {status}.")
        self.cause = f"status_{status}"


class NotCompared(StranglerError):
    """There is nothing to compare, through no fault of either side; ``cause`` says why in a short code."""

    def __init__(self, cause: str, message: str = "") -> None:
        super().__init__(message)
        self.cause = cause


def run(
    job: Job, *, guard: Guard = nullcontext, max_bytes: int = 262_144, deadline: float | None = None
) -> Verdict | Later:
    """Compare the sides; whatever either of them does becomes a verdict, never an exception.

    Only a job whose copy ``follows`` may have to be run again later.
    """
    comparison = _Comparison(job, guard, max_bytes, deadline)
    try:
        if job.kind == "write":
            return comparison.rehearsed()
        return comparison.after_a_moment() if job.follows else comparison.at_once()
    except (NotCompared, BreakerOpen) as why:
        return comparison._verdict(Outcome.DROPPED, cause=why.cause)
    except Exception as error:
        return comparison._verdict(Outcome.ERROR, cause=str(getattr(error, "cause", type(error).__name__)))


class _Comparison:
    """One job on its way to a verdict."""

    def __init__(self, job: Job, guard: Guard, max_bytes: int, deadline: float | None) -> None:
        self.job = job
        self.rules = job.rules.also_ignoring(job.ignore)
        self.guard = guard
        self.max_bytes = max_bytes
        self.deadline = deadline
        self.rounds = job.rounds
        self.seconds = 0.0
        self.raw = job.raw
        self.noise = job.noise
        self.unsteady: tuple[Difference, ...] = ()

    def at_once(self) -> Verdict:
        """Compare sides with the same data, each of which has to say the same twice before a difference counts."""
        given, copy = self._first()
        at_first = self._differ(given, copy)
        if not at_first:
            return self._verdict(Outcome.MATCH)
        while self.rounds < MAX_ROUNDS:
            self.rounds += 1
            before, again, after = self._copy(), self._again(), self._copy()
            differences = self._differ(again, after)
            if self.rounds == 1:
                unmoved = steady.stayed(at_first, self._differ(given, again))
                self.unsteady = _without(unmoved, fields_of(differences))
            if not differences:
                return self._verdict(Outcome.CHANGED)
            stayed = steady.stayed(differences, (*self._differ(given, again), *self._differ(before, after)))
            if stayed:
                return self._verdict(Outcome.MISMATCH, stayed)
            given = again  # what differs moves under our eyes
        return self._verdict(Outcome.CHANGED)

    def rehearsed(self) -> Verdict:
        """Compare a write with its dry-run, which is done once more where it comes out otherwise.

        The one that gave the answer cannot be asked again. What comes out otherwise each time is no difference.
        """
        given, copy = self._first()
        if self.job.completed is not None:
            given = self.job.completed(given)
        differences = self._differ(given, copy)
        self.raw = fields_of(differences)
        if not differences:
            return self._verdict(Outcome.MATCH)
        self.rounds = 1
        again = self._copy()
        self.unsteady = _without(differences, fields_of(self._differ(given, again)))
        stayed = steady.stayed(differences, self._differ(copy, again))
        return self._verdict(Outcome.MISMATCH, stayed) if stayed else self._verdict(Outcome.CHANGED)

    def after_a_moment(self) -> Verdict | Later:
        """Compare stores of which one follows the other.

        What was given before everything had arrived, and is given still, is in the copy too. Only then a copy that
        differs, and goes on differing, is a mismatch.
        """
        if self.rounds and self._is_behind():
            if monotonic() - self.job.given_at > self.job.patience:
                raise NotCompared("behind", "what was changed has not arrived")
            return Later(job=self.job)
        given, copy = self._first()
        if not self._differ(given, copy):
            return self._verdict(Outcome.CHANGED if self.rounds else Outcome.MATCH)
        if self.rounds == 0:
            return self._later(given, self.job.given_at)
        again, after = self._again(), self._copy()
        differences = self._differ(again, after)
        if not differences:
            return self._verdict(Outcome.CHANGED)
        stayed = steady.stayed(differences, (*self._differ(given, again), *self._differ(copy, after)))
        if stayed:
            return self._verdict(Outcome.MISMATCH, stayed)
        return self._verdict(Outcome.CHANGED) if self.rounds >= MAX_ROUNDS else self._later(again, monotonic())

    def _verdict(self, outcome: Outcome, differences: tuple[Difference, ...] = (), cause: str = "") -> Verdict:
        """Return what has been found so far as a verdict."""
        return Verdict(
            outcome=outcome,
            cause=cause,
            differences=bounded(differences),
            rounds=self.rounds,
            seconds=self.seconds,
            raw=self.raw,
            noise=self.noise,
            unsteady=bounded(self.unsteady),
        )

    def _later(self, given: Answer, given_at: float) -> Later:
        rounds = self.rounds + 1
        job = replace(self.job, given=given, given_at=given_at, rounds=rounds, raw=self.raw, noise=self.noise)
        return Later(job=job)

    def _is_behind(self) -> bool:
        try:
            return self.job.behind is not None and self.job.behind()
        except Exception as error:
            raise NotCompared("behind", f"nobody can tell whether all has arrived: {error}") from error

    def _first(self) -> tuple[Answer, Answer]:
        given = self._bounded(self.job.given)
        started = monotonic() - waited()
        try:
            copy = self._copy()
        finally:
            self.seconds = monotonic() - waited() - started
        if self.rounds == 0:
            self.raw = fields_of(self._differ(given, copy))
            if self.job.ask_twice:
                self.noise = self._noise(given)
        return given, copy

    def _noise(self, given: Answer) -> frozenset[str] | None:
        """Ask the side that answered once more, whatever the other says; None if it could not be asked."""
        try:
            return fields_of(self._differ(given, self._again()))
        except NotCompared:
            return None

    def _differ(self, given: Answer, other: Answer) -> tuple[Difference, ...]:
        give_way()
        try:
            return every_difference(given, other, self.rules)
        except Exception as error:
            logger.exception("The rules of %s.%s cannot compare its answers", self.job.service, self.job.route)
            raise NotCompared("comparator", str(error)) from error

    def _copy(self) -> Answer:
        self._in_time()
        with self.guard():
            try:
                answer: Answer | NotCompared = self.job.ask_copy()
            except NotCompared as why:  # no failure of whoever was asked, so the breaker does not hear of it
                answer = why
            if isinstance(answer, Answer) and answer.status >= 500 > self.job.given.status:
                raise ServiceFailed(answer.status)
        if isinstance(answer, NotCompared):
            raise answer
        return self._bounded(answer)

    def _again(self) -> Answer:
        self._in_time()
        failed = f"{self.job.answered_by}_failed"
        try:
            answer = self.job.ask_again()
        except NotCompared:
            raise
        except Exception as error:
            raise NotCompared(failed, str(error)) from error
        if answer.status >= 500 > self.job.given.status:
            raise NotCompared(failed, f"{self.job.answered_by} answered {answer.status} when it was asked again")
        return self._bounded(answer)

    def _bounded(self, answer: Answer) -> Answer:
        if answer.encoding:
            answer = _decoded(answer, self.max_bytes)
        if len(answer.body) > self.max_bytes:
            raise NotCompared("too_large")
        return answer

    def _in_time(self) -> None:
        give_way()
        if self.deadline is not None and monotonic() >= self.deadline:
            raise NotCompared("deadline")


def fields_of(differences: Iterable[Difference]) -> frozenset[str]:
    """Return the fields in which answers differ."""
    return frozenset(difference.field for difference in differences)


def _without(differences: Iterable[Difference], fields: frozenset[str]) -> tuple[Difference, ...]:
    return tuple(difference for difference in differences if difference.field not in fields)


def _decoded(answer: Answer, max_bytes: int) -> Answer:
    """Return the answer without its compression, or a little more of it than may be compared."""
    if answer.encoding.strip().lower() not in ENCODINGS:
        raise NotCompared("encoded", f"nothing here reads the encoding {answer.encoding!r}")
    try:
        body = zlib.decompressobj(ANY_ZLIB).decompress(answer.body, max_bytes + 1)
    except zlib.error as error:
        raise NotCompared("encoded", str(error)) from error
    return replace(answer, body=body, encoding="")
