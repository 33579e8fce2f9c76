"""Running: consume what was planned, one recorded operation after the other, so that a kill loses nothing."""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from migrations_plan.errors import (
    InProgress,
    OperationFailed,
    Paused,
    ReasonMissing,
    Refused,
    StateChanged,
    UnknownGate,
)
from migrations_plan.gates import GateResult, Measurements, Subject
from migrations_plan.lease import LEASE, Heartbeat, new_holder
from migrations_plan.moves import PLANNERS, Move, homecomings, require_lossless, require_reversible
from migrations_plan.operations import Operation
from migrations_plan.plan import Plan
from migrations_plan.recorder import Recorder
from migrations_plan.runs import GateStop, Orders, Progress, Ran, silent
from migrations_plan.state import Change, Direction, Kind, State

POLL_SECONDS = 1.0
"""How often gates are measured again while waiting for them."""


@dataclass(frozen=True, kw_only=True)
class Executor:
    """Move one service along its plan."""

    plan: Plan
    recorder: Recorder
    measurements: Measurements
    progress: Callable[[Progress], None] = silent
    lease: timedelta = LEASE
    watch_holder: bool = True
    """Whether to watch a silent holder until its lease ends, instead of refusing at once."""
    sleep: Callable[[float], None] = time.sleep

    def state(self) -> State:
        """Return where the service stands; refuse if the plan does not know the place."""
        state = self.recorder.state(self.plan.service, self.plan.start.envelope)
        for name in filter(None, (state.step, state.moving_to)):
            if name not in self.plan.names:
                raise Refused(
                    f"The database says that {state.service} is at {name!r}, which its plan does not have. "
                    f"Put the step back into the plan until the service has left it. Its steps: "
                    f"{', '.join(self.plan.names)}."
                )
        return state

    def plan_moves(self, direction: Direction, to: str | None = None) -> tuple[Move, ...]:
        """Return what a command would do; run nothing."""
        target = self.plan.find(to) if to else None
        return PLANNERS[direction](self.plan, self.state(), target)

    def advance(self, to: str | None, orders: Orders) -> Ran:
        """Take steps until the target, or until the first gate that does not pass."""
        target = self.plan.find(to) if to else None
        if orders.overrides and not orders.reason.strip():
            raise ReasonMissing
        state = self._free_state()
        if state.paused:
            raise Paused(
                f"{state.service} is paused{self._last_pause(state)}. `phase resume {state.service}` allows advancing "
                "again; rolling back is possible while it is paused."
            )
        moves = PLANNERS[Direction.FORWARDS](self.plan, state, target)
        self._check_overrides(orders.overrides, moves)
        if not moves and target is None:
            raise Refused(f"{state.service} is at {state.step}, the last step of its plan.")
        return self._run_all(state, moves, orders)

    def rollback(self, to: str | None, orders: Orders) -> Ran:
        """Undo steps until the target; refuse before the first if one of them cannot be undone."""
        target = self.plan.find(to) if to else None
        state = self._free_state()
        moves = PLANNERS[Direction.BACKWARDS](self.plan, state, target)
        require_reversible(moves)
        if not moves and target is None:
            raise Refused(f"{state.service} is at {state.step}, the first step of its plan.")
        found = homecomings(moves, self.measurements)
        for homecoming in found:
            self.progress(Progress(text=str(homecoming)))
        require_lossless(state.service, found)
        return replace(self._run_all(state, moves, orders), homecomings=found)

    def pause(self, orders: Orders) -> State:
        """Forbid advancing; a command that is moving the service stops after its present operation."""
        return self._set_paused(True, Kind.PAUSED, orders)

    def resume(self, orders: Orders) -> State:
        """Allow advancing again."""
        return self._set_paused(False, Kind.RESUMED, orders)

    def measure(self, state: State, gates: Iterable[Any]) -> tuple[GateResult, ...]:
        """Measure gates for the step that is in force; record nothing."""
        subject = Subject(
            service=state.service,
            step=state.step,
            store=state.envelope.store,
            shadow_store=state.envelope.shadow_store,
            since=state.entered_at,
        )
        return tuple(gate.measure(subject, self.measurements) for gate in gates)

    # --- one command ---------------------------------------------------------------------------------------
    def _run_all(self, state: State, moves: tuple[Move, ...], orders: Orders) -> Ran:
        taken: list[str] = []
        before = state.step
        deadline = time.monotonic() + orders.wait
        target = moves[-1].to_step.name if moves else state.step
        for move in moves:
            evidence = self._pass_gates(move, state, orders, deadline)
            if isinstance(evidence, GateStop):
                return Ran(
                    service=state.service,
                    before=before,
                    after=state.step,
                    target=target,
                    steps=tuple(taken),
                    stop=evidence,
                )
            state = self._run(move, state, orders, evidence)
            taken.append(move.to_step.name)
        return Ran(service=state.service, before=before, after=state.step, target=target, steps=tuple(taken))

    def _free_state(self) -> State:
        """Return the state once no living command moves the service; refuse as soon as one shows that it lives."""
        state = self.state()
        while state.held_at(self.measurements.now()):
            if not self.watch_holder:
                raise InProgress(self._busy(state))
            left = (state.lease_until - self.measurements.now()).total_seconds() if state.lease_until else 0.0
            self.progress(Progress(text=f"{state.holder} began a step; is it alive? {left:.0f} s", passing=True))
            self.sleep(min(0.2, max(0.0, left)))
            fresh = self.state()
            if (fresh.version, fresh.lease_until) != (state.version, state.lease_until):
                raise InProgress(self._busy(state))
        return state

    def _busy(self, state: State) -> str:
        return (
            f"{state.holder} is moving {state.service} ({state.step}, {state.direction} with {state.moving_to}). "
            f"Let it end and look at `phase status {state.service}`. If it was killed, this command works as soon as "
            f"its lease is over: {state.lease_until:%H:%M:%S} UTC."
        )

    def _last_pause(self, state: State) -> str:
        for line in self.recorder.history(state.service):
            if line.change.kind is Kind.PAUSED:
                why = f" ({line.change.reason})" if line.change.reason else ""
                return f" by {line.change.actor} since {line.at:%Y-%m-%d %H:%M:%S} UTC{why}"
        return ""

    def _check_overrides(self, overrides: Collection[str], moves: Iterable[Move]) -> None:
        known = tuple(dict.fromkeys(gate.name for move in moves for gate in move.gates))
        for name in sorted(overrides):
            if name not in known:
                raise UnknownGate(name, known)

    # --- gates ---------------------------------------------------------------------------------------------
    def _pass_gates(
        self, move: Move, state: State, orders: Orders, deadline: float
    ) -> tuple[tuple[GateResult, bool], ...] | GateStop:
        """Return the evidence on which the step may be left, with overrides marked, or where it stopped."""
        if state.direction is Direction.BACKWARDS and move.resumes:
            return ()  # the step was in force before somebody began to undo it
        if move.resumes and (recorded := self._valid_evidence(move, state)) is not None:
            return recorded
        while True:
            results = self.measure(state, move.gates)
            judged = tuple((r, not r.passed and r.gate in orders.overrides) for r in results)
            blocking = [result for result, overridden in judged if not result.passed and not overridden]
            if not blocking or time.monotonic() >= deadline:
                break
            left = deadline - time.monotonic()
            self.progress(Progress(text=f"{move.lower.name}, {left:.0f} s left: {blocking[0].detail}", passing=True))
            self.sleep(min(POLL_SECONDS, max(0.0, left)))
            self._require_unchanged(state)
        self.recorder.record_evidence(state.service, move.lower.name, judged)
        return GateStop(step=move.lower.name, results=results) if blocking else judged

    def _valid_evidence(self, move: Move, state: State) -> tuple[tuple[GateResult, bool], ...] | None:
        """Return what was recorded when the step was begun, unless it has expired since."""
        recorded = self.recorder.evidence(state.service, move.lower.name, state.entered_at)
        now = self.measurements.now()
        found = [recorded.get(gate.name) for gate in move.gates]
        valid = [
            item for item in found if item is not None and (item[0].passed or item[1]) and item[0].expires_at > now
        ]
        return tuple(valid) if len(valid) == len(found) else None

    def _require_unchanged(self, state: State) -> None:
        fresh = self.state()
        if fresh.version != state.version:
            raise StateChanged(self.recorder.explain_loss(state))

    # --- one move ------------------------------------------------------------------------------------------
    def _run(self, move: Move, state: State, orders: Orders, evidence: tuple[tuple[GateResult, bool], ...]) -> State:
        if move.direction is Direction.FORWARDS:
            context = move.context(self.measurements)
            for _, operation in move.pending:
                operation.preflight(context)
        holder = new_holder(orders.actor)
        state = self._begin(move, state, orders, evidence, holder)
        verb = "taking" if move.direction is Direction.FORWARDS else "undoing"
        self.progress(Progress(text=f"{verb} {move.upper.name}: {move.to_step.title}"))
        try:
            with Heartbeat(self.recorder, state.service, holder, self.lease):
                for number, operation in move.pending:
                    state = self._operate(move, state, orders, number, operation)
            return self._complete(move, state, orders)
        except StateChanged:
            self.recorder.release(state.service, holder)
            raise
        except BaseException as error:
            self._fail(move, state, orders, error)
            if not isinstance(error, Exception):
                raise
            raise OperationFailed(
                f"{move.upper.name} of {state.service} is begun and not ended: {type(error).__name__}: {error} "
                f"Once the cause is mended, `phase advance {state.service}` finishes it; "
                f"`phase rollback {state.service}` undoes it."
            ) from error

    def _begin(
        self,
        move: Move,
        state: State,
        orders: Orders,
        evidence: tuple[tuple[GateResult, bool], ...],
        holder: str,
    ) -> State:
        overridden = [result.gate for result, was_overridden in evidence if was_overridden]
        detail = f"gates overridden: {', '.join(overridden)}" if overridden else ""
        change = self._change(
            Kind.PICKED_UP if move.resumes else Kind.BEGUN,
            move,
            orders,
            detail=detail,
            evidence=tuple({**result.as_json(), "overridden": was} for result, was in evidence),
        )
        moving = {} if move.resumes else {"moving_to": move.to_step.name}
        return self.recorder.change(
            state,
            change,
            direction=move.direction,
            operations_done=move.cursor,
            holder=holder,
            lease_until=self.measurements.now() + self.lease,
            **moving,
        )

    def _operate(self, move: Move, state: State, orders: Orders, number: int, operation: Operation) -> State:
        notes: list[str] = []

        def report(text: str) -> None:
            self.progress(Progress(text=f"  {text}", passing=True))
            self._require_unchanged(state)  # somebody has paused the service, say

        context = replace(move.context(self.measurements), actor=orders.actor, report=report, note=notes.append)
        forwards = move.direction is Direction.FORWARDS
        text = operation.describe(move.passage) if forwards else operation.describe_undo(move.passage)
        envelope = operation.forwards(context) if forwards else operation.backwards(context)
        told = "; ".join((text, *notes))
        self.progress(Progress(text=f"  {told}"))
        return self.recorder.change(
            state,
            self._change(Kind.OPERATION, move, orders, detail=told),
            envelope=envelope or state.envelope,
            operations_done=number + 1 if forwards else number,
            lease_until=self.measurements.now() + self.lease,
        )

    def _complete(self, move: Move, state: State, orders: Orders) -> State:
        return self.recorder.change(
            state,
            self._change(Kind.TAKEN, move, orders, detail=move.to_step.title),
            step=move.to_step.name,
            entered_at=self.measurements.now(),
            moving_to="",
            direction=None,
            operations_done=0,
            holder="",
            lease_until=None,
        )

    def _fail(self, move: Move, state: State, orders: Orders, error: BaseException) -> None:
        detail = f"{type(error).__name__}: {error}".rstrip(": ")
        change = self._change(Kind.FAILED, move, orders, detail=detail)
        try:
            self.recorder.change(state, change, holder="", lease_until=None)
        except StateChanged:  # somebody paused meanwhile; the error itself is raised by the caller
            self.recorder.release(state.service, state.holder)

    def _set_paused(self, paused: bool, kind: Kind, orders: Orders) -> State:
        state = self.state()
        if state.paused == paused:
            raise Refused(f"{state.service} is {'paused already' if paused else 'not paused'}.")
        change = Change(kind=kind, actor=orders.actor, reason=orders.reason, from_step=state.step, to_step=state.step)
        return self.recorder.change(state, change, paused=paused)

    @staticmethod
    def _change(
        kind: Kind, move: Move, orders: Orders, *, detail: str = "", evidence: tuple[dict[str, Any], ...] = ()
    ) -> Change:
        return Change(
            kind=kind,
            actor=orders.actor,
            from_step=move.from_step.name,
            to_step=move.to_step.name,
            reason=orders.reason,
            detail=detail,
            evidence=evidence,
        )
