"""Measurements that tests set by hand, and plans small enough to read."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from migrations_plan.builders import monolith
from migrations_plan.executor import Executor
from migrations_plan.gates import Calls, Comparisons, Gate, HealthReport, Measurements, Outcome, Subject
from migrations_plan.listeners import Inventory
from migrations_plan.operations import Context, Operation, Passage, SetEnvelope
from migrations_plan.plan import Phase, Plan, Step
from migrations_plan.recorder import Recorder
from migrations_plan.runs import Orders
from migrations_plan.standing import BackfillProgress, Check, Homecoming, SyncStanding, Verified, Way
from router.api import Envelope

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ALICE = Orders(actor="alice", reason="because")


@dataclass
class FakeMeasurements:
    """Numbers set by hand; ``present`` None means the real clock."""

    present: datetime | None = None
    compared: Comparisons = field(default_factory=lambda: Comparisons(compared=0, matched=0))
    called: dict[str, Calls] = field(default_factory=dict)
    breaker_states: dict[str, str] = field(default_factory=dict)
    ready: HealthReport = field(default_factory=lambda: HealthReport(ok=True, detail="ready"))
    asked_since: list[datetime] = field(default_factory=list)
    listening: Inventory = field(default_factory=lambda: Inventory(inspected=1))
    handlers: frozenset[str] = frozenset()
    synced: SyncStanding = field(default_factory=SyncStanding)
    verified: Verified | None = None
    other_side: HealthReport = field(default_factory=lambda: HealthReport(ok=True, detail="it answers"))
    asked_stores: list[str] = field(default_factory=list)
    checks: tuple[Check, ...] = ()
    coming: Homecoming = field(default_factory=lambda: Homecoming(aggregate="orders"))

    def now(self) -> datetime:
        return self.present or datetime.now(UTC)

    def comparisons(self, service: str, store: str, since: datetime) -> Comparisons:
        self.asked_since.append(since)
        self.asked_stores.append(store)
        return self.compared

    def calls(self, service: str, kind: str, since: datetime) -> Calls:
        self.asked_since.append(since)
        return self.called.get(kind, Calls(total=0, failed=0))

    def breakers(self, service: str, store: str) -> Mapping[str, str]:
        self.asked_stores.append(store)
        return self.breaker_states

    def health(self, service: str, store: str) -> HealthReport:
        self.asked_stores.append(store)
        return self.ready

    def receivers(self, models: Sequence[str], signals: Sequence[str]) -> Inventory:
        return self.listening

    def event_handlers(self) -> frozenset[str]:
        return self.handlers

    def sync(self, aggregate: str) -> SyncStanding:
        return self.synced

    def verification(self, aggregate: str) -> Verified | None:
        return self.verified

    def peer(self, aggregate: str) -> HealthReport:
        return self.other_side

    def ready_to_move(
        self, aggregate: str, buckets: Collection[int], *, verified_within: timedelta, min_compared: int
    ) -> tuple[Check, ...]:
        return self.checks

    def homecoming(self, aggregate: str, buckets: Collection[int]) -> Homecoming:
        return self.coming


IN_SYNC = SyncStanding(
    captured=True,
    backfill=BackfillProgress(marked=500, total=500, finished=True),
    ways=(
        Way(name="legacy->extracted", lag_p99=0.2, lag_samples=5_000),
        Way(name="extracted->legacy", lag_p99=0.2, lag_samples=5_000),
    ),
    owners={"owner": 100},
)
"""Everything that was there is marked, everything that changes arrives."""


def just_verified() -> Verified:
    """Return a comparison of both sides that has found nothing wrong, begun and ended in the future of any step."""
    moment = datetime.now(UTC) + timedelta(minutes=1)
    return Verified(started_at=moment, finished_at=moment, compared=5_000, corrupt=0, unresolved=0)


def plenty() -> FakeMeasurements:
    """Return numbers with which every gate of every builder passes."""
    return FakeMeasurements(
        compared=Comparisons(compared=100_000, matched=100_000),
        called={"read": Calls(total=100_000, failed=0), "write": Calls(total=100_000, failed=0)},
        breaker_states={"web:1": "closed"},
        synced=IN_SYNC,
        verified=just_verified(),
    )


@dataclass(frozen=True, kw_only=True)
class Toggle(Gate):
    """A gate that says what its list says, first to last, and then the last again."""

    says: list[Outcome]
    label: str = "toggle"
    valid_for: timedelta = timedelta(minutes=10)

    @property
    def name(self) -> str:
        return self.label

    def describe(self) -> str:
        return "a test says so"

    def judge(self, subject: Subject, measurements: Measurements) -> tuple[Outcome, int, int, str]:
        outcome = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        return outcome, 3, 10, f"The test says {outcome}; 7 are missing."


@dataclass(frozen=True, kw_only=True)
class Journal(Operation):
    """An operation that notes what it did, and fails when its switch says so."""

    name: str
    lines: list[str]
    broken: dict[str, bool] = field(default_factory=dict)

    def describe(self, passage: Passage) -> str:
        return f"do {self.name}"

    def describe_undo(self, passage: Passage) -> str:
        return f"undo {self.name}"

    def forwards(self, context: Context) -> None:
        self.lines.append(f"+{self.name}")
        if self.broken.get("forwards"):
            raise RuntimeError(f"{self.name} broke")

    def backwards(self, context: Context) -> None:
        self.lines.append(f"-{self.name}")
        if self.broken.get("backwards"):
            raise RuntimeError(f"{self.name} broke on the way back")


@dataclass(frozen=True, kw_only=True)
class OneWay(Journal):
    """An operation that cannot be undone."""

    reversible = False


def small_plan(first: tuple[Operation, ...] = (), gates: tuple[Gate, ...] = (), **values: Any) -> Plan:
    """Return a plan for ``things`` of three steps: monolith, half, all."""
    half = Step(name="go@50", title="half of it", reads=50, operations=(*first, SetEnvelope()), gates=gates, **values)
    whole = Step(name="go@100", title="all of it", reads=100, operations=(SetEnvelope(),))
    return Plan(service="things", phases=(monolith(), Phase(name="go", title="Going", steps=(half, whole))))


def executor(plan: Plan, measurements: Measurements | None = None, **values: Any) -> Executor:
    """Return an executor on the test database."""
    return Executor(plan=plan, recorder=Recorder(), measurements=measurements or plenty(), **values)


def in_force(plan: Plan) -> Envelope:
    """Return what the router is told."""
    return Recorder().state(plan.service, plan.start.envelope).envelope
