"""What must hold before a step is left, each measured with a minimum of samples and a date."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import Any, Protocol

from migrations_plan.confidence import samples_for, wilson
from migrations_plan.listeners import Inventory
from migrations_plan.standing import Check, Homecoming, SyncStanding, Verified


class Outcome(StrEnum):
    """What a measurement says; only PASS lets a step be left."""

    PASS = "pass"
    """It holds, on enough samples."""
    FAIL = "fail"
    """It does not hold, on enough samples."""
    INCONCLUSIVE = "inconclusive"
    """Nobody can tell yet; no samples is always this."""


@dataclass(frozen=True, kw_only=True)
class Comparisons:
    """What shadowing found since a moment."""

    compared: int
    matched: int
    dropped: int = 0
    errors: int = 0
    worst: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()
    """Fields that differ by more than noise and chance explain."""
    noisy: tuple[str, ...] = ()
    """Fields in which a side differs from itself so often that nobody can say whether the other does."""


@dataclass(frozen=True, kw_only=True)
class Calls:
    """What happened to diverted requests since a moment."""

    total: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class HealthReport:
    """What an upstream says about itself now."""

    ok: bool
    detail: str


class Measurements(Protocol):
    """Where gates get their numbers; ``measurements.RouterMeasurements`` is the real one."""

    def now(self) -> datetime:
        """Return the present, aware and in UTC."""
        ...

    def comparisons(self, service: str, store: str, since: datetime) -> Comparisons:
        """Return the shadow comparisons with a store made since ``since``."""
        ...

    def calls(self, service: str, kind: str, since: datetime) -> Calls:
        """Return the diverted requests of a kind (read, write) since ``since``."""
        ...

    def breakers(self, service: str, store: str) -> Mapping[str, str]:
        """Return the breaker state (closed, open, half-open) per process."""
        ...

    def health(self, service: str, store: str) -> HealthReport:
        """Ask the upstream whether it is ready."""
        ...

    def receivers(self, models: Sequence[str], signals: Sequence[str]) -> Inventory:
        """Return who listens in this process to signals of these models, and to these signals."""
        ...

    def event_handlers(self) -> frozenset[str]:
        """Return the names of this program's handlers of integration events."""
        ...

    def sync(self, aggregate: str) -> SyncStanding:
        """Return how sync of an aggregate stands."""
        ...

    def verification(self, aggregate: str) -> Verified | None:
        """Return what the last finished comparison of both sides found; None if there was none."""
        ...

    def peer(self, aggregate: str) -> HealthReport:
        """Ask the other side of an aggregate whether it takes part."""
        ...

    def ready_to_move(
        self, aggregate: str, buckets: Collection[int], *, verified_within: timedelta, min_compared: int
    ) -> tuple[Check, ...]:
        """Return what has to hold before those of the buckets that are at legacy go to the service."""
        ...

    def homecoming(self, aggregate: str, buckets: Collection[int]) -> Homecoming:
        """Return what bringing those of the buckets that are away home to legacy takes, and would lose."""
        ...


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is measured: a service in a step, since it was entered."""

    service: str
    step: str
    store: str
    """The one that answers."""
    since: datetime
    shadow_store: str = ""
    """The one that copies of reads go to; empty: the one that answers."""


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """One dated measurement; ``detail`` says in a sentence what is missing."""

    gate: str
    outcome: Outcome
    samples: int
    minimum: int
    detail: str
    measured_at: datetime
    expires_at: datetime

    @property
    def passed(self) -> bool:
        """Return whether the gate lets the step be left."""
        return self.outcome is Outcome.PASS

    @property
    def missing(self) -> int:
        """Return how many samples are missing."""
        return max(0, self.minimum - self.samples)

    def as_json(self) -> dict[str, Any]:
        """Return the result for history and machines."""
        return {
            "gate": self.gate,
            "outcome": self.outcome.value,
            "samples": self.samples,
            "minimum": self.minimum,
            "missing": self.missing,
            "detail": self.detail,
            "measured_at": self.measured_at.isoformat(),
            "expires_at": self.expires_at.isoformat(),
        }


class Gate(ABC):
    """A condition with a name, measured through the ``Measurements`` port only."""

    valid_for: timedelta = timedelta(minutes=10)

    @property
    @abstractmethod
    def name(self) -> str:
        """Return the name that commands and history use."""

    @abstractmethod
    def describe(self) -> str:
        """Return the condition in a few words."""

    @abstractmethod
    def judge(self, subject: Subject, measurements: Measurements) -> tuple[Outcome, int, int, str]:
        """Return outcome, samples, minimum and the sentence."""

    def measure(self, subject: Subject, measurements: Measurements) -> GateResult:
        """Measure now, and date the result."""
        outcome, samples, minimum, detail = self.judge(subject, measurements)
        now = measurements.now()
        return GateResult(
            gate=self.name,
            outcome=outcome,
            samples=samples,
            minimum=minimum,
            detail=detail,
            measured_at=now,
            expires_at=now + self.valid_for,
        )


@dataclass(frozen=True, kw_only=True)
class ShadowMatchRate(Gate):
    """Require that both sides give the same answers, with confidence and not by luck."""

    min_samples: int
    min_rate: float
    store: str = ""
    """With which store's answers; empty: that of the step."""
    strict: bool = True
    """Whether a field that differs for certain fails the gate, though the rate allows for that many differences."""
    valid_for: timedelta = timedelta(minutes=10)

    @property
    def name(self) -> str:
        return f"shadow-match-rate{_of(self.store)}"

    def describe(self) -> str:
        compared = f"answers compared with the store{_named(self.store)}" if self.store else "compared answers"
        return f"at least {self.min_rate:.2%} of {self.minimum} or more {compared} match"

    @property
    def minimum(self) -> int:
        """Return the samples it takes at least: as asked, and enough to be confident of the rate at all."""
        return max(1, self.min_samples, samples_for(self.min_rate))

    def judge(self, subject: Subject, measurements: Measurements) -> tuple[Outcome, int, int, str]:
        store = self.store or subject.shadow_store or subject.store
        found = measurements.comparisons(subject.service, store, subject.since)
        total, minimum = found.compared, self.minimum
        if total == 0:
            return (
                Outcome.INCONCLUSIVE,
                0,
                minimum,
                f"No answer was compared since {subject.step} was entered; {minimum} are needed.{_dropped(found)}",
            )
        low, high = wilson(found.matched, total)
        says = (
            f"{found.matched} of {total} compared answers match ({found.matched / total:.2%}, "
            f"with 95 % confidence {low:.2%} or more)"
        )
        if self.strict and found.failing:
            return Outcome.FAIL, total, minimum, f"{says}; by more than noise differ: {', '.join(found.failing[:5])}."
        if total < minimum:
            return Outcome.INCONCLUSIVE, total, minimum, f"{says}; {lacking(minimum - total, 'comparison')}."
        if high < self.min_rate:
            return Outcome.FAIL, total, minimum, f"{says}; {self.min_rate:.2%} is needed.{_worst(found)}"
        if low < self.min_rate < 1:
            wanted = samples_for(self.min_rate, misses=total - found.matched)
            return (
                Outcome.INCONCLUSIVE,
                total,
                wanted,
                f"{says}; too close to {self.min_rate:.2%} to tell: {wanted - total} more comparisons without one more "
                f"mismatch would show it.{_worst(found)}",
            )
        if found.noisy:
            return (
                Outcome.INCONCLUSIVE,
                total,
                minimum,
                f"{says}; nobody can judge what differs on one side alone: {', '.join(found.noisy[:5])}. Say with a "
                "comparison rule what of it counts, or leave it out with: shadow ignore.",
            )
        return Outcome.PASS, total, minimum, f"{says}."


@dataclass(frozen=True, kw_only=True)
class UpstreamErrorRate(Gate):
    """Require that diverted requests fail at most so often; a few errors among few requests prove nothing."""

    kind: str
    min_samples: int
    max_rate: float
    valid_for: timedelta = timedelta(minutes=10)

    @property
    def name(self) -> str:
        return f"{self.kind}-error-rate"

    def describe(self) -> str:
        return f"at most {self.max_rate:.2%} of {self.minimum} or more diverted {self.kind}s fail"

    @property
    def minimum(self) -> int:
        """Return the samples it takes at least; none at all is never enough."""
        return max(1, self.min_samples)

    def judge(self, subject: Subject, measurements: Measurements) -> tuple[Outcome, int, int, str]:
        found = measurements.calls(subject.service, self.kind, subject.since)
        total, minimum = found.total, self.minimum
        if total == 0:
            return (
                Outcome.INCONCLUSIVE,
                0,
                minimum,
                f"No {self.kind} was diverted since {subject.step} was entered; {minimum} are needed.",
            )
        says = f"{found.failed} of {total} diverted {self.kind}s failed ({found.failed / total:.2%})"
        low, _ = wilson(found.failed, total)
        if total >= minimum and low > self.max_rate:
            return Outcome.FAIL, total, minimum, f"{says}; at most {self.max_rate:.2%} may."
        if total < minimum:
            return Outcome.INCONCLUSIVE, total, minimum, f"{says}; {lacking(minimum - total, self.kind)}."
        if found.failed / total > self.max_rate:
            wanted = ceil(found.failed / self.max_rate) if self.max_rate else None
            more = f"{wanted - total} {self.kind}s without one more failure would show it" if wanted else "none may"
            outcome = Outcome.INCONCLUSIVE if wanted else Outcome.FAIL
            return outcome, total, wanted or minimum, f"{says}; at most {self.max_rate:.2%} may, {more}."
        return Outcome.PASS, total, minimum, f"{says}."


@dataclass(frozen=True, kw_only=True)
class BreakerClosed(Gate):
    """Require that no process has given up on the upstream."""

    store: str = ""
    """Of which store; empty: of the one that answers."""
    valid_for: timedelta = timedelta(minutes=1)

    @property
    def name(self) -> str:
        return f"breaker-closed{_of(self.store)}"

    def describe(self) -> str:
        return f"no breaker of the upstream{_named(self.store)} is open"

    def judge(self, subject: Subject, measurements: Measurements) -> tuple[Outcome, int, int, str]:
        store = self.store or subject.store
        states = measurements.breakers(subject.service, store)
        troubled = [f"{where}: {state}" for where, state in sorted(states.items()) if state != "closed"]
        if troubled:
            return (
                Outcome.FAIL,
                len(states),
                0,
                f"A breaker of {subject.service} ({store}) is not closed: {', '.join(troubled)}.",
            )
        return Outcome.PASS, len(states), 0, f"No breaker of {subject.service} ({store}) is open."


@dataclass(frozen=True, kw_only=True)
class UpstreamHealthy(Gate):
    """Require that the upstream answers that it is ready."""

    store: str = ""
    """Of which store; empty: of the one that answers."""
    valid_for: timedelta = timedelta(minutes=1)

    @property
    def name(self) -> str:
        return f"upstream-healthy{_of(self.store)}"

    def describe(self) -> str:
        return f"the upstream{_named(self.store)} answers that it is ready"

    def judge(self, subject: Subject, measurements: Measurements) -> tuple[Outcome, int, int, str]:
        store = self.store or subject.store
        report = measurements.health(subject.service, store)
        outcome = Outcome.PASS if report.ok else Outcome.FAIL
        return outcome, 1, 1, f"{subject.service} ({store}): {report.detail}"


@dataclass(frozen=True, kw_only=True)
class DwellTime(Gate):
    """Require that a step has been in force for some time, so that slow trouble can show."""

    seconds: int
    valid_for: timedelta = timedelta(hours=24)

    @property
    def name(self) -> str:
        return "dwell-time"

    def describe(self) -> str:
        return f"the step has been in force for {self.seconds} s"

    def judge(self, subject: Subject, measurements: Measurements) -> tuple[Outcome, int, int, str]:
        stayed = max(0, int((measurements.now() - subject.since).total_seconds()))
        says = f"{subject.step} has been in force for {stayed} s"
        if stayed >= self.seconds:
            return Outcome.PASS, stayed, self.seconds, f"{says}."
        return Outcome.INCONCLUSIVE, stayed, self.seconds, f"{says}; {self.seconds - stayed} s are missing."


def lacking(number: int, noun: str) -> str:
    """Say how many samples are missing."""
    return f"1 {noun} is missing" if number == 1 else f"{number} {noun}s are missing"


def _worst(found: Comparisons) -> str:
    return f" Most often different: {', '.join(found.worst[:3])}." if found.worst else ""


def _dropped(found: Comparisons) -> str:
    return f" {found.dropped} comparisons were dropped." if found.dropped else ""


def _of(store: str) -> str:
    return f"-{store}" if store else ""


def _named(store: str) -> str:
    return f" {store}" if store else ""
