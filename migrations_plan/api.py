"""The public face: what the commands and the admin pages call, and what a program may."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from migrations_plan import plan_registry
from migrations_plan.errors import Refused
from migrations_plan.executor import Executor
from migrations_plan.gates import GateResult
from migrations_plan.measurements import RouterMeasurements
from migrations_plan.moves import Move
from migrations_plan.moves import homecomings as homecomings_of
from migrations_plan.owning import owners_of
from migrations_plan.plan import Plan, Step
from migrations_plan.recorder import Recorder
from migrations_plan.runs import Orders, Progress, Ran, silent
from migrations_plan.standing import Homecoming, Owners
from migrations_plan.state import Direction, HistoryLine, State
from router import api as router_api
from router.api import Effective, Envelope

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Evidence kept from the last time that somebody wanted to leave the step."""

    result: GateResult
    overridden: bool


@dataclass(frozen=True, kw_only=True)
class ServiceStatus:
    """Where a service stands, what that means for its traffic, and what is next."""

    service: str
    plan: Plan
    state: State
    now: datetime
    step: Step | None
    """None where the plan does not have the step that the database names."""
    next_step: Step | None
    channels: Mapping[str, Effective]
    """Requested and effective, and why they differ, per reads, writes and shadow."""
    gates: tuple[GateResult, ...]
    """What the gates of the step say now; nothing is recorded by asking."""
    evidence: tuple[Recorded, ...]
    warnings: tuple[str, ...]
    owners: tuple[Owners, ...] = ()
    """Which side owns how many buckets of each aggregate that the plan moves, once somebody wrote it down."""

    @property
    def blocking(self) -> tuple[GateResult, ...]:
        """Return the gates that do not hold now."""
        return tuple(result for result in self.gates if not result.passed)

    def as_json(self) -> dict[str, Any]:
        """Return the status for machines."""
        state = self.state
        return {
            "service": self.service,
            "step": state.step,
            "title": self.step.title if self.step else None,
            "version": state.version,
            "paused": state.paused,
            "entered_at": state.entered_at.isoformat() if state.entered else None,
            "moving": {
                "to": state.moving_to,
                "direction": state.direction,
                "operations_done": state.operations_done,
                "holder": state.holder or None,
                "lease_until": state.lease_until.isoformat() if state.lease_until else None,
            }
            if state.moving
            else None,
            "envelope": asdict(state.envelope),
            "channels": {name: asdict(channel) for name, channel in self.channels.items()},
            "next": self.next_step.name if self.next_step else None,
            "gates": [result.as_json() for result in self.gates],
            "evidence": [{**item.result.as_json(), "overridden": item.overridden} for item in self.evidence],
            "ladder": [{"step": step.name, "title": step.title} for step in self.plan.steps],
            "owners": [asdict(owners) for owners in self.owners],
            "point_of_no_return": None if (step := self.plan.point_of_no_return) is None else step.name,
            "warnings": list(self.warnings),
        }


def last_step(service: str) -> str:
    """Return the name of the step at the end of a service's plan."""
    return plan_registry.plan_of(service).steps[-1].name


def services() -> tuple[str, ...]:
    """Return the names of all services with a plan."""
    return tuple(plan_registry.plans())


def executor(service: str, progress: OnProgress = silent, *, watch_holder: bool = True) -> Executor:
    """Return what moves a service; raise UnknownService with the valid names."""
    return Executor(
        plan=plan_registry.plan_of(service),
        recorder=Recorder(),
        measurements=RouterMeasurements(),
        progress=progress,
        watch_holder=watch_holder,
    )


def status(service: str) -> ServiceStatus:
    """Return where a service stands; measure its gates and record nothing."""
    mover = executor(service)
    plan, recorder = mover.plan, mover.recorder
    state = recorder.state(service, plan.start.envelope)
    known = state.step in plan.names
    step = plan.steps[plan.index(state.step)] if known else None
    following = plan.steps[plan.index(state.step) + 1 :] if known else ()
    evidence = recorder.evidence(service, state.step, state.entered_at)
    return ServiceStatus(
        service=service,
        plan=plan,
        state=state,
        now=mover.measurements.now(),
        step=step,
        next_step=following[0] if following else None,
        channels={str(name): channel for name, channel in router_api.effective(service).items()},
        gates=mover.measure(state, step.gates) if step else (),
        evidence=tuple(Recorded(result=result, overridden=was) for result, was in evidence.values()),
        warnings=tuple(_warnings(mover, state, step)),
        owners=owners_of(plan, state.moving_to or state.step, mover.measurements),
    )


def plan_moves(service: str, to: str | None = None, direction: Direction = Direction.FORWARDS) -> tuple[Move, ...]:
    """Return what advancing (or rolling back) would do, in order; run nothing."""
    return executor(service).plan_moves(direction, to)


def direction_to(service: str, to: str | None) -> Direction:
    """Return which way a step lies from where a service stands."""
    mover = executor(service)
    behind = to is not None and mover.plan.index(mover.plan.find(to).name) < mover.plan.index(mover.state().step)
    return Direction.BACKWARDS if behind else Direction.FORWARDS


def homecomings(service: str, moves: tuple[Move, ...]) -> tuple[Homecoming, ...]:
    """Return what moves backwards have to bring home, and what would be lost by it; run nothing."""
    return homecomings_of(moves, executor(service).measurements)


def way_home(status: ServiceStatus) -> tuple[Homecoming, ...]:
    """Return what going all the way back would have to bring home now; asks the service once it owns something."""
    if status.step is None or not any(one.extracted or one.between for one in status.owners):
        return ()
    return homecomings(status.service, plan_moves(status.service, status.plan.start.name, Direction.BACKWARDS))


def advance(
    service: str, to: str | None, orders: Orders, progress: OnProgress = silent, *, watch_holder: bool = True
) -> Ran:
    """Take steps until the target (default: one step) or the first gate that does not pass."""
    return executor(service, progress, watch_holder=watch_holder).advance(to, orders)


def rollback(
    service: str, to: str | None, orders: Orders, progress: OnProgress = silent, *, watch_holder: bool = True
) -> Ran:
    """Undo steps until the target (default: one step)."""
    return executor(service, progress, watch_holder=watch_holder).rollback(to, orders)


def pause(service: str, orders: Orders) -> State:
    """Forbid advancing; rolling back stays possible."""
    return executor(service).pause(orders)


def resume(service: str, orders: Orders) -> State:
    """Allow advancing again."""
    return executor(service).resume(orders)


def history(service: str, limit: int | None = None) -> tuple[HistoryLine, ...]:
    """Return who did what, when, why and on which evidence, newest first."""
    return executor(service).recorder.history(service, limit)


def _warnings(mover: Executor, state: State, step: Step | None) -> list[str]:
    try:
        mover.state()
    except Refused as problem:
        return [str(problem)]
    if step and not state.moving and _limits(step.envelope) != _limits(state.envelope):
        found = state.envelope
        copies = f" to {found.shadow_store}" if found.shadow_store else ""
        in_force = f"reads {found.reads} %, writes {found.writes} %, shadow {found.shadow} %{copies}"
        return [
            f"The plan was changed while the service stood at {step.name}: it allows something else there than what is "
            f"in force ({in_force}). Roll back one step and advance again to put the plan's in force."
        ]
    if state.moving and not state.held_at(mover.measurements.now()):
        begun = max(state.step, state.moving_to, key=mover.plan.index)
        return [
            f"{begun} was begun, last {state.direction}, and is neither done nor undone. "
            f"`phase advance {state.service}` finishes it, `phase rollback {state.service}` undoes it."
        ]
    return []


def _limits(envelope: Envelope) -> Envelope:
    return replace(envelope, step="", paused=False)
