"""What must hold of data sync before a step is left."""

from abc import abstractmethod
from dataclasses import dataclass
from datetime import timedelta

from migrations_plan.gates import Gate, Measurements, Outcome, Subject, lacking
from migrations_plan.standing import Owners, SyncStanding

OUT = "legacy->extracted"
BACK = "extracted->legacy"

Judgement = tuple[Outcome, int, int, str]


@dataclass(frozen=True, kw_only=True)
class SyncGate(Gate):
    """A condition on how sync of an aggregate stands."""

    aggregate: str

    def judge(self, subject: Subject, measurements: Measurements) -> Judgement:
        standing = measurements.sync(self.aggregate)
        if standing.problem:
            return Outcome.INCONCLUSIVE, 0, 1, standing.problem
        return self.judge_standing(standing)

    @abstractmethod
    def judge_standing(self, standing: SyncStanding) -> Judgement:
        """Return outcome, samples, minimum and the sentence."""


@dataclass(frozen=True, kw_only=True)
class CaptureIntact(SyncGate):
    """Require that every trigger that notes changes is where it has to be."""

    valid_for: timedelta = timedelta(minutes=1)

    @property
    def name(self) -> str:
        return "capture-intact"

    def describe(self) -> str:
        return f"triggers note every change of {self.aggregate}"

    def judge_standing(self, standing: SyncStanding) -> Judgement:
        mend = f"`sync install {self.aggregate}` puts them back"
        if not standing.captured:
            return Outcome.FAIL, 0, 1, f"The triggers of {self.aggregate} are not installed; {mend}."
        if standing.missing_triggers:
            wrong = ", ".join(standing.missing_triggers)
            return Outcome.FAIL, 0, 1, f"Changes of {self.aggregate} may go unseen: {wrong}; {mend}."
        return Outcome.PASS, 1, 1, f"All triggers of {self.aggregate} are in place."


@dataclass(frozen=True, kw_only=True)
class BackfillDone(SyncGate):
    """Require that everything that was there before capture is marked to be sent."""

    valid_for: timedelta = timedelta(minutes=10)

    @property
    def name(self) -> str:
        return "backfill-done"

    def describe(self) -> str:
        return f"everything in {self.aggregate} is marked to be sent"

    def judge_standing(self, standing: SyncStanding) -> Judgement:
        found = standing.backfill
        if found is None:
            return Outcome.INCONCLUSIVE, 0, 1, f"No backfill was begun; `sync backfill {self.aggregate}` begins one."
        if not found.finished:
            share = f" ({found.marked / found.total:.0%})" if found.total else ""
            told = f"{found.marked} of {found.total} {self.aggregate} are marked{share}; a worker goes on with it."
            return Outcome.INCONCLUSIVE, found.marked, max(1, found.total), told
        return Outcome.PASS, found.marked, 0, f"All {found.marked} {self.aggregate} that were there are marked."


@dataclass(frozen=True, kw_only=True)
class SyncCaughtUp(SyncGate):
    """Require that changes arrive soon, all of them, and that enough of them have shown it lately."""

    max_lag_seconds: float = 2.0
    min_samples: int = 100
    way: str = OUT
    valid_for: timedelta = timedelta(minutes=1)

    @property
    def name(self) -> str:
        return "sync-caught-up"

    def describe(self) -> str:
        return f"99 % of {self.minimum} or more changes arrived within {self.max_lag_seconds:g} s, and none was refused"

    @property
    def minimum(self) -> int:
        """Return the samples it takes at least; none at all is never enough."""
        return max(1, self.min_samples)

    def judge_standing(self, standing: SyncStanding) -> Judgement:
        way, minimum = standing.way(self.way), self.minimum
        if way is None:
            return Outcome.INCONCLUSIVE, 0, minimum, f"Nothing is known of the way {self.way}."
        refused = way.held + standing.parked
        if refused:
            told = f"{refused} changes were not accepted; `sync waiting {self.aggregate}` says which, and why."
            return Outcome.FAIL, way.lag_samples, minimum, told
        if way.oldest_seconds is not None and way.oldest_seconds > self.max_lag_seconds:
            told = f"{way.waiting} changes are on their way, one of them for {way.oldest_seconds:.1f} s"
            return Outcome.FAIL, way.lag_samples, minimum, f"{told}; {self.max_lag_seconds:g} s are allowed."
        if way.lag_p99 is None or way.lag_samples < minimum:
            missing = lacking(minimum - way.lag_samples, "change")
            told = f"{way.lag_samples} changes arrived in the last minutes; {missing}."
            return Outcome.INCONCLUSIVE, way.lag_samples, minimum, told
        says = f"99 % of {way.lag_samples} changes arrived within {way.lag_p99:.2f} s"
        if way.lag_p99 > self.max_lag_seconds:
            return Outcome.FAIL, way.lag_samples, minimum, f"{says}; {self.max_lag_seconds:g} s are allowed."
        return Outcome.PASS, way.lag_samples, minimum, f"{says}."


@dataclass(frozen=True, kw_only=True)
class SyncBackCaughtUp(SyncCaughtUp):
    """Require the same of the changes that are made at the service, which alone knows what waits there."""

    way: str = BACK
    max_waiting: int = 100
    """So many changes may be on their way home."""

    @property
    def name(self) -> str:
        return "sync-back-caught-up"

    def describe(self) -> str:
        return (
            f"99 % of {self.minimum} or more changes made at the service came home within {self.max_lag_seconds:g} s, "
            f"and at most {self.max_waiting} are on their way"
        )

    def judge(self, subject: Subject, measurements: Measurements) -> Judgement:
        outcome, samples, minimum, told = super().judge(subject, measurements)
        if outcome is not Outcome.PASS:
            return outcome, samples, minimum, told
        found = measurements.homecoming(self.aggregate, range(100))
        if found.problems:
            return Outcome.FAIL, samples, minimum, " ".join(found.problems)
        if found.waiting > self.max_waiting:
            late = f"{found.waiting} changes at the service have not come home; {self.max_waiting} are allowed."
            return Outcome.FAIL, samples, minimum, late
        return outcome, samples, minimum, told


@dataclass(frozen=True, kw_only=True)
class NothingParked(SyncGate):
    """Require that no document is refused on either side."""

    valid_for: timedelta = timedelta(minutes=1)

    @property
    def name(self) -> str:
        return "nothing-parked"

    def describe(self) -> str:
        return f"no document of {self.aggregate} was refused by the service, and none is parked at legacy"

    def judge_standing(self, standing: SyncStanding) -> Judgement:
        way = standing.way(OUT)
        refused, parked = way.held if way else 0, standing.parked
        if refused or parked:
            told = f"The service has not accepted {refused} documents, legacy {parked}; "
            return Outcome.FAIL, 0, 0, f"{told}`sync waiting {self.aggregate}` says which, and why."
        return Outcome.PASS, 0, 0, "Both sides have accepted everything."


@dataclass(frozen=True, kw_only=True)
class BucketsThere(SyncGate):
    """Require that the service owns all the buckets that the step wants there, and that none is in between."""

    percent: int
    valid_for: timedelta = timedelta(minutes=1)

    @property
    def name(self) -> str:
        return "buckets-there"

    def describe(self) -> str:
        return f"the service owns {self.percent} buckets of {self.aggregate}, and none is in between"

    def judge_standing(self, standing: SyncStanding) -> Judgement:
        found = Owners.of(self.aggregate, self.percent, standing)
        told = f"The service owns {found.extracted} of {self.percent} buckets"
        if found.between:
            mend = f"`sync resume {self.aggregate}` goes on with them"
            return Outcome.FAIL, found.extracted, self.percent, f"{told}, {found.between} are in between; {mend}."
        outcome = Outcome.PASS if found.extracted >= self.percent else Outcome.FAIL
        return outcome, found.extracted, self.percent, f"{told}."


@dataclass(frozen=True, kw_only=True)
class SyncVerified(Gate):
    """Require that both sides were compared row by row since the step was entered, lately, and nothing was wrong."""

    aggregate: str
    min_compared: int = 1
    max_age: timedelta = timedelta(minutes=15)
    valid_for: timedelta = timedelta(minutes=1)
    """Of the evidence: the comparison goes on ageing."""

    @property
    def name(self) -> str:
        return "sync-verified"

    def describe(self) -> str:
        minutes = self.max_age.total_seconds() / 60
        return f"{self.minimum} or more {self.aggregate} compared on both sides within {minutes:g} min, none corrupt"

    @property
    def minimum(self) -> int:
        """Return how much has to be compared; nothing at all is never enough."""
        return max(1, self.min_compared)

    def judge(self, subject: Subject, measurements: Measurements) -> Judgement:
        found, minimum = measurements.verification(self.aggregate), self.minimum
        again = f"`sync verify {self.aggregate}` compares both sides."
        if found is None:
            return Outcome.INCONCLUSIVE, 0, minimum, f"Both sides were never compared; {again}"
        if found.started_at < subject.since:
            told = f"Both sides were compared before {subject.step} was entered; {again}"
            return Outcome.INCONCLUSIVE, 0, minimum, told
        age = measurements.now() - found.finished_at
        if age > self.max_age:
            told = f"Both sides were compared {age.total_seconds() / 60:.0f} min ago; {again}"
            return Outcome.INCONCLUSIVE, 0, minimum, told
        says = f"{found.compared} {self.aggregate} were compared on both sides"
        if found.corrupt:
            mend = f"`sync verify {self.aggregate} --repair` mends what it finds"
            return Outcome.FAIL, found.compared, minimum, f"{says}, {found.corrupt} are corrupt; {mend}."
        if found.unresolved:
            told = f"{says}, {found.unresolved} of them were still on their way; {again}"
            return Outcome.INCONCLUSIVE, found.compared, minimum, told
        if found.compared < minimum:
            missing = lacking(minimum - found.compared, "comparison")
            return Outcome.INCONCLUSIVE, found.compared, minimum, f"{says}; {missing}."
        return Outcome.PASS, found.compared, minimum, f"{says}, and nothing is wrong."
