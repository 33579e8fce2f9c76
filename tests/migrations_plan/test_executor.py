"""Moving along a plan on a real database: every step there and back, crashes, gates, overrides, two operators."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from waffle import get_waffle_flag_model

from migrations_plan import owning, syncing
from migrations_plan.builders import monolith, separate, shared
from migrations_plan.errors import (
    InProgress,
    Irreversible,
    NotReady,
    OperationFailed,
    Paused,
    ReasonMissing,
    Refused,
    StateChanged,
    UnknownGate,
    UnknownStep,
    WrongDirection,
)
from migrations_plan.executor import Executor
from migrations_plan.gates import HealthReport, Outcome
from migrations_plan.models import Evidence, HistoryEntry, ServiceState
from migrations_plan.operations import Context
from migrations_plan.plan import Plan
from migrations_plan.recorder import Recorder
from migrations_plan.runs import Orders, Progress
from migrations_plan.source import PlanSnapshotSource
from migrations_plan.standing import Moved
from migrations_plan.state import Change, Direction, Kind
from tests.migrations_plan.fakes import (
    ALICE,
    FakeMeasurements,
    Journal,
    OneWay,
    Toggle,
    executor,
    in_force,
    plenty,
    small_plan,
)

pytestmark = pytest.mark.django_db
STANDARD = Plan(service="orders", phases=(monolith(), shared(), separate(aggregate="orders")))
PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


@pytest.fixture(autouse=True)
def hands(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let buckets change hands at once, without another side; return how many the service owns."""
    owned = [0]

    def move(aggregate: str, to: str, buckets: range, **_: object) -> Moved:
        owned[0] = len(buckets) if to == syncing.EXTRACTED else 100 - len(buckets)
        return Moved(to=to, there=len(buckets), wanted=len(buckets))

    monkeypatch.setattr(syncing, "move", move)
    monkeypatch.setattr(
        FakeMeasurements,
        "sync",
        lambda self, aggregate: replace(self.synced, owners={"owner": 100 - owned[0], "replica": owned[0]}),
    )
    return owned


def whole_picture() -> tuple[object, ...]:
    """Return everything that a rollback has to bring back: the place, what is in force, flags, triggers."""
    state = Recorder().state("orders", STANDARD.start.envelope)
    flags = get_waffle_flag_model().objects.order_by("name").values_list("name", "percent", "everyone", "note")
    captured = syncing.standing("orders").captured
    return state.step, state.envelope, state.paused, state.moving_to, state.holder, list(flags), captured


@pytest.mark.parametrize("name", STANDARD.names)
def test_rollback_from_every_step_returns_to_where_it_was(name: str, hands: list[int]) -> None:
    mover = executor(STANDARD)
    before = whole_picture()
    mover.advance(name, ALICE)
    step = STANDARD.find(name)
    assert in_force(STANDARD) == step.envelope
    assert hands[0] == owning.wanted_at(STANDARD, name)["orders"]
    mover.rollback("monolith", ALICE)
    assert whole_picture() == before
    assert hands == [0]


@pytest.mark.parametrize("number", range(1, len(STANDARD.steps)))
def test_one_step_back_from_every_step(number: int) -> None:
    mover = executor(STANDARD)
    mover.advance(STANDARD.names[number - 1], ALICE)
    before = whole_picture()
    mover.advance(None, ALICE)
    assert mover.state().step == STANDARD.names[number]
    ran = mover.rollback(None, ALICE)
    assert (ran.before, ran.after) == (STANDARD.names[number], STANDARD.names[number - 1])
    assert whole_picture() == before


def test_advance_takes_one_step_by_default_and_all_up_to_a_target() -> None:
    mover = executor(STANDARD)
    assert mover.advance(None, ALICE).steps == ("shared.shadow",)
    ran = mover.advance("shared.reads", ALICE)
    assert ran.steps == ("shared.reads@1", "shared.reads@10", "shared.reads@50", "shared.reads@100")
    assert mover.advance("shared", ALICE).after == "shared.writes@100"
    assert mover.advance("shared", ALICE).steps == ()
    cutover = [f"separate.cutover@{percent}" for percent in (1, 10, 50, 100)]
    ran = mover.advance("separate", ALICE)
    assert ran.steps == ("separate.sync", "separate.shadow", *cutover, "separate.bake")


@pytest.mark.parametrize(
    ("at", "act", "error", "says"),
    [
        (
            "shared.shadow",
            lambda m: m.advance("monolith", ALICE),
            WrongDirection,
            "phase rollback orders --to monolith",
        ),
        ("shared.shadow", lambda m: m.rollback("shared", ALICE), WrongDirection, "phase advance orders"),
        (
            "shared.shadow",
            lambda m: m.advance("shared.reads@11", ALICE),
            UnknownStep,
            "shared.reads@10, shared.reads@50",
        ),
        ("separate", lambda m: m.advance(None, ALICE), Refused, "the last step"),
        ("monolith", lambda m: m.rollback(None, ALICE), Refused, "the first step"),
        ("monolith", lambda m: m.resume(ALICE), Refused, "not paused"),
    ],
)
def test_what_is_refused_says_the_way_out(
    at: str, act: Callable[[Executor], object], error: type[Exception], says: str
) -> None:
    mover = executor(STANDARD)
    mover.advance(at, ALICE)
    before = HistoryEntry.objects.count()
    with pytest.raises(error, match=says):
        act(mover)
    assert HistoryEntry.objects.count() == before


def test_a_service_not_ready_is_found_before_the_step_begins() -> None:
    measurements = plenty()
    measurements.ready = HealthReport(ok=False, detail="connection refused.")
    with pytest.raises(NotReady, match=r"orders \(shared\) is not ready: connection refused"):
        executor(STANDARD, measurements).advance(None, ALICE)
    assert not ServiceState.objects.exists()
    assert not HistoryEntry.objects.exists()


# --- history -------------------------------------------------------------------------------------------------
def test_every_change_has_one_line_of_history_with_who_and_why() -> None:
    mover = executor(STANDARD)
    mover.advance(None, ALICE)
    mover.pause(Orders(actor="bob", reason="lunch"))
    lines = list(HistoryEntry.objects.order_by("version").values_list("version", "kind", "actor", "reason"))
    assert [line[0] for line in lines] == list(range(1, mover.state().version + 1))
    assert [line[1] for line in lines] == ["begun", "operation", "operation", "operation", "taken", "paused"]
    assert {line[2:] for line in lines[:-1]} == {("alice", "because")}
    assert lines[-1][2:] == ("bob", "lunch")


# --- gates ---------------------------------------------------------------------------------------------------
def test_advance_stops_at_the_first_gate_without_samples() -> None:
    mover = executor(STANDARD, FakeMeasurements())
    ran = mover.advance("shared.reads", ALICE)
    assert (ran.done, ran.steps, ran.after) == (False, ("shared.shadow",), "shared.shadow")
    assert ran.stop is not None
    assert [(result.gate, result.outcome, result.samples) for result in ran.stop.blocking] == [
        ("shadow-match-rate", INCONCLUSIVE, 0)
    ]
    assert ran.stop.blocking[0].missing == 539
    kept = Evidence.objects.get(gate="shadow-match-rate")
    assert (kept.step, kept.outcome, kept.samples, kept.overridden) == ("shared.shadow", INCONCLUSIVE, 0, False)
    assert kept.expires_at - kept.measured_at == timedelta(minutes=10)


@pytest.mark.parametrize("outcome", [FAIL, INCONCLUSIVE])
def test_a_gate_that_does_not_pass_can_be_overridden_by_name_with_a_reason(outcome: Outcome) -> None:
    plan = small_plan(gates=(Toggle(says=[outcome]), Toggle(says=[PASS], label="other")))
    mover = executor(plan)
    mover.advance("go@50", ALICE)
    with pytest.raises(ReasonMissing):
        mover.advance(None, Orders(actor="alice", overrides=frozenset({"toggle"})))
    with pytest.raises(UnknownGate, match="toggle, other"):
        mover.advance(None, Orders(actor="alice", reason="x", overrides=frozenset({"togle"})))
    assert mover.advance(None, ALICE).stop is not None
    orders = Orders(actor="alice", reason="the report is wrong", overrides=frozenset({"toggle"}))
    assert mover.advance(None, orders).after == "go@100"
    begun = HistoryEntry.objects.filter(kind="begun").first()
    assert begun is not None
    assert (begun.actor, begun.reason, begun.detail) == ("alice", "the report is wrong", "gates overridden: toggle")
    assert [(item["gate"], item["outcome"], item["overridden"]) for item in begun.evidence] == [
        ("toggle", outcome, True),
        ("other", "pass", False),
    ]
    assert Evidence.objects.filter(overridden=True).count() == 1


def test_waiting_measures_again_until_the_gates_pass() -> None:
    plan = small_plan(gates=(Toggle(says=[INCONCLUSIVE, INCONCLUSIVE, PASS]),))
    seen: list[Progress] = []
    mover = executor(plan, progress=seen.append, sleep=lambda seconds: None)
    mover.advance("go@50", ALICE)
    assert mover.advance(None, Orders(actor="alice", wait=60)).after == "go@100"
    assert len([line for line in seen if line.passing]) == 2
    assert "7 are missing" in next(line.text for line in seen if line.passing)
    assert Evidence.objects.count() == 1


def test_waiting_ends_with_its_time() -> None:
    plan = small_plan(gates=(Toggle(says=[INCONCLUSIVE]),))
    waits: list[float] = []
    mover = executor(plan, sleep=waits.append)
    mover.advance("go@50", ALICE)
    ran = mover.advance(None, Orders(actor="alice", wait=0.05))
    assert ran.stop is not None
    assert waits
    assert max(waits) <= 0.05


def test_who_waits_for_a_gate_stops_when_somebody_else_changes_the_state() -> None:
    plan = small_plan(gates=(Toggle(says=[INCONCLUSIVE]),))
    executor(plan).advance("go@50", ALICE)
    mover = executor(plan, sleep=lambda seconds: executor(plan).pause(Orders(actor="bob")) and None)
    with pytest.raises(StateChanged, match=r"bob changed things at .*: paused"):
        mover.advance(None, Orders(actor="alice", wait=60))


# --- pause ---------------------------------------------------------------------------------------------------
def test_a_paused_service_does_not_advance_and_can_be_rolled_back() -> None:
    mover = executor(STANDARD)
    mover.advance("shared.reads@10", ALICE)
    mover.pause(Orders(actor="bob", reason="incident 7"))
    with pytest.raises(Paused, match=r"paused by bob since .* \(incident 7\)"):
        mover.advance(None, ALICE)
    assert in_force(STANDARD).reads == 10
    assert in_force(STANDARD).paused
    assert mover.rollback(None, ALICE).after == "shared.reads@1"
    mover.resume(ALICE)
    assert mover.advance(None, ALICE).after == "shared.reads@10"


@pytest.mark.parametrize("breaks", [False, True])
def test_a_pause_stops_a_moving_command_after_its_present_operation(breaks: bool) -> None:
    class Pausing(Journal):
        def forwards(self, context: Context) -> None:
            executor(plan).pause(Orders(actor="bob"))
            super().forwards(context)

    lines: list[str] = []
    first = Pausing(name="a", lines=lines, broken={"forwards": breaks})
    plan = small_plan(first=(first, Journal(name="b", lines=lines)))
    with pytest.raises(
        OperationFailed if breaks else StateChanged, match="a broke" if breaks else "bob changed things"
    ):
        executor(plan).advance(None, ALICE)
    state = executor(plan).state()
    assert (state.paused, state.moving_to, state.holder, state.operations_done) == (True, "go@50", "", 0)
    with pytest.raises(Paused):
        executor(plan).advance(None, ALICE)
    assert executor(plan).rollback(None, ALICE).after == "monolith"
    assert lines == ["+a", "-a"]


# --- operations that fail or are killed ------------------------------------------------------------------------
def crashing_plan() -> tuple[Plan, list[str], dict[str, bool]]:
    lines: list[str] = []
    broken: dict[str, bool] = {}
    operations = (Journal(name="a", lines=lines), Journal(name="b", lines=lines, broken=broken))
    return small_plan(first=operations), lines, broken


def test_a_step_that_failed_is_finished_by_the_next_advance() -> None:
    plan, lines, broken = crashing_plan()
    broken["forwards"] = True
    with pytest.raises(OperationFailed, match="go@50 of things is begun and not ended: RuntimeError: b broke"):
        executor(plan).advance(None, ALICE)
    state = executor(plan).state()
    assert (state.step, state.moving_to, state.direction, state.operations_done) == ("monolith", "go@50", "forwards", 1)
    assert in_force(plan).reads == 0
    assert HistoryEntry.objects.filter(kind="failed", detail="RuntimeError: b broke").count() == 1
    broken.clear()
    ran = executor(plan).advance(None, ALICE)
    assert ran.steps == ("go@50",)
    assert lines == ["+a", "+b", "+b"]
    assert in_force(plan).reads == 50


def test_a_step_that_failed_is_undone_by_the_next_rollback_the_half_done_operation_included() -> None:
    plan, lines, broken = crashing_plan()
    broken["forwards"] = True
    with pytest.raises(OperationFailed):
        executor(plan).advance(None, ALICE)
    ran = executor(plan).rollback(None, ALICE)
    assert (ran.before, ran.after) == ("monolith", "monolith")
    assert lines == ["+a", "+b", "-b", "-a"]
    state = executor(plan).state()
    assert (state.step, state.moving, state.operations_done) == ("monolith", False, 0)


def test_an_undoing_that_failed_is_ended_by_rollback_or_turned_by_advance() -> None:
    plan, lines, broken = crashing_plan()
    executor(plan).advance("go@50", ALICE)
    broken["backwards"] = True
    lines.clear()
    with pytest.raises(OperationFailed, match="b broke on the way back"):
        executor(plan).rollback(None, ALICE)
    assert lines == ["-b"]
    assert in_force(plan).reads == 0, "what is in force is taken back first"
    broken.clear()
    assert executor(plan).advance(None, ALICE).steps == ("go@50",)
    assert lines == ["-b", "+b"]
    assert in_force(plan).reads == 50
    broken["backwards"] = True
    with pytest.raises(OperationFailed):
        executor(plan).rollback(None, ALICE)
    broken.clear()
    assert executor(plan).rollback(None, ALICE).after == "monolith"
    assert lines[-3:] == ["-b", "-b", "-a"]


def test_an_interrupt_leaves_the_step_begun_and_frees_the_lease() -> None:
    def interrupt(progress: Progress) -> None:
        if progress.text == "  do a":
            raise KeyboardInterrupt

    plan, _lines, _broken = crashing_plan()
    with pytest.raises(KeyboardInterrupt):
        executor(plan, progress=interrupt).advance(None, ALICE)
    state = executor(plan).state()
    assert (state.moving_to, state.holder) == ("go@50", "")
    assert executor(plan).advance(None, ALICE).after == "go@50"


def begin_and_vanish(plan: Plan, lease: timedelta) -> None:
    """Leave the row as a killed command leaves it."""
    recorder = Recorder()
    state = recorder.state(plan.service, plan.start.envelope)
    recorder.change(
        state,
        Change(kind=Kind.BEGUN, actor="carol", from_step=state.step, to_step="go@50"),
        moving_to="go@50",
        direction=Direction.FORWARDS,
        holder="carol on host, process 1",
        lease_until=timezone.now() + lease,
    )


@pytest.mark.parametrize("action", ["advance", "rollback"])
def test_a_second_command_is_refused_while_another_lives(action: str) -> None:
    plan = small_plan()
    begin_and_vanish(plan, timedelta(minutes=5))
    mover = executor(plan, watch_holder=False)
    with pytest.raises(InProgress, match="carol on host, process 1 is moving things"):
        getattr(mover, action)(None, ALICE)
    assert not HistoryEntry.objects.filter(actor="alice").exists()


def test_a_command_that_renews_its_lease_is_known_to_live() -> None:
    plan = small_plan()
    begin_and_vanish(plan, timedelta(minutes=5))
    holder = "carol on host, process 1"

    def renew(seconds: float) -> None:
        Recorder().renew("things", holder, timezone.now() + timedelta(minutes=6))

    with pytest.raises(InProgress):
        executor(plan, sleep=renew).advance(None, ALICE)


@pytest.mark.parametrize(("action", "ends_at"), [("advance", "go@50"), ("rollback", "monolith")])
def test_a_silent_command_is_picked_up_when_its_lease_is_over(action: str, ends_at: str) -> None:
    plan = small_plan()
    begin_and_vanish(plan, timedelta(seconds=-1))
    ran = getattr(executor(plan), action)(None, ALICE)
    assert ran.after == ends_at
    assert list(HistoryEntry.objects.filter(actor="alice").values_list("kind", flat=True))[-1] == "picked up"


def test_a_step_begun_on_evidence_that_still_holds_is_finished_without_measuring_again() -> None:
    toggle = Toggle(says=[PASS, FAIL])
    lines: list[str] = []
    broken = {"forwards": True}
    plan = small_plan(gates=(toggle,))
    last = plan.steps[-1]
    object.__setattr__(last, "operations", (Journal(name="x", lines=lines, broken=broken), *last.operations))
    executor(plan).advance("go@50", ALICE)
    with pytest.raises(OperationFailed):
        executor(plan).advance(None, ALICE)
    broken.clear()
    assert executor(plan).advance(None, ALICE).after == "go@100"


def test_a_step_begun_on_evidence_that_expired_is_measured_again() -> None:
    broken = {"forwards": True}
    plan = small_plan(gates=(Toggle(says=[PASS, FAIL], valid_for=timedelta(0)),))
    last = plan.steps[-1]
    object.__setattr__(last, "operations", (Journal(name="x", lines=[], broken=broken), *last.operations))
    executor(plan).advance("go@50", ALICE)
    with pytest.raises(OperationFailed):
        executor(plan).advance(None, ALICE)
    broken.clear()
    ran = executor(plan).advance(None, ALICE)
    assert ran.stop is not None
    assert executor(plan).state().moving_to == "go@100"
    assert executor(plan).rollback(None, ALICE).after == "go@50"


def test_the_whole_way_back_is_checked_before_the_first_step_is_undone() -> None:
    lines: list[str] = []
    plan = small_plan(first=(OneWay(name="drop", lines=lines),))
    mover = executor(plan)
    mover.advance("go@100", ALICE)
    with pytest.raises(Irreversible, match=r"go@50: OneWay cannot be undone. Nothing was undone"):
        mover.rollback("monolith", ALICE)
    assert mover.state().step == "go@100"
    assert lines == ["+drop"]
    assert mover.rollback("go@50", ALICE).after == "go@50"


# --- planning and what the router sees ---------------------------------------------------------------------------
def test_planning_runs_nothing() -> None:
    mover = executor(STANDARD, FakeMeasurements(ready=HealthReport(ok=False, detail="down")))
    moves = mover.plan_moves(Direction.FORWARDS, "shared")
    assert [move.to_step.name for move in moves] == list(STANDARD.names[1 : STANDARD.index("separate.sync")])
    assert moves[1].lines()[1] == ("allow reads 0 % -> 1 %", "allow reads 1 % -> 0 %")
    assert not ServiceState.objects.exists()
    assert not HistoryEntry.objects.exists()
    assert not get_waffle_flag_model().objects.exists()


def test_a_step_the_plan_does_not_have_any_more_is_refused() -> None:
    executor(small_plan()).advance("go@50", ALICE)
    shrunk = Plan(service="things", phases=(monolith(),))
    with pytest.raises(Refused, match="'go@50', which its plan does not have"):
        executor(shrunk).rollback(None, ALICE)


@pytest.mark.usefixtures("orders_plan")
def test_the_router_sees_the_row_and_a_service_without_one_at_its_first_step(
    django_assert_num_queries: Any,
) -> None:
    source = PlanSnapshotSource()
    assert source.envelopes() == {"orders": STANDARD.start.envelope}
    executor(STANDARD).advance("shared.reads@10", ALICE)
    with django_assert_num_queries(1):
        found = source.envelopes()
    assert found == {"orders": STANDARD.find("shared.reads@10").envelope}
