"""Planning: which steps lie between here and there, as data. Nothing in this module runs anything."""

from dataclasses import dataclass
from typing import Any

from migrations_plan.errors import Irreversible, WouldLoseData, WrongDirection
from migrations_plan.gates import Gate, Measurements
from migrations_plan.operations import Context, Operation, Passage
from migrations_plan.plan import Plan, Step
from migrations_plan.standing import Homecoming
from migrations_plan.state import Direction, State

NO_WAY_BACK = "CANNOT BE UNDONE"


@dataclass(frozen=True, kw_only=True)
class Move:
    """One step to be taken or undone, or the rest of one that was begun."""

    service: str
    direction: Direction
    lower: Step
    upper: Step
    """The step whose operations run: forwards to get there, backwards to leave it."""
    resumes: bool
    """Whether somebody began it before."""
    cursor: int
    """How many of the upper step's operations are done when the move goes on."""

    @property
    def from_step(self) -> Step:
        """Return the step that is left."""
        return self.lower if self.direction is Direction.FORWARDS else self.upper

    @property
    def to_step(self) -> Step:
        """Return the step that will be in force."""
        return self.upper if self.direction is Direction.FORWARDS else self.lower

    @property
    def gates(self) -> tuple[Gate, ...]:
        """Return what has to hold first; going back needs nothing."""
        return self.lower.gates if self.direction is Direction.FORWARDS else ()

    @property
    def pending(self) -> tuple[tuple[int, Operation], ...]:
        """Return the operations still to run, in order, with their places in the step."""
        numbered = tuple(enumerate(self.upper.operations))
        if self.direction is Direction.FORWARDS:
            return numbered[self.cursor :]
        return tuple(reversed(numbered[: self.cursor]))

    @property
    def irreversible(self) -> tuple[Operation, ...]:
        """Return the operations of this move that cannot be undone."""
        return tuple(operation for _, operation in self.pending if not operation.reversible)

    @property
    def passage(self) -> Passage:
        """Return what the operations of the move are about."""
        return Passage(service=self.service, before=self.lower.envelope, after=self.upper.envelope)

    def context(self, measurements: Measurements) -> Context:
        """Return what the operations of the move may use."""
        return Context(
            service=self.service,
            before=self.lower.envelope,
            after=self.upper.envelope,
            measurements=measurements,
        )

    def lines(self) -> tuple[tuple[str, str], ...]:
        """Return per operation what would be done and how that is undone."""
        passage, forwards = self.passage, self.direction is Direction.FORWARDS
        both = [
            (op.describe(passage), op.describe_undo(passage) if op.reversible else NO_WAY_BACK)
            for _, op in self.pending
        ]
        return tuple(both if forwards else [(undo, do) for do, undo in both])

    def as_json(self) -> dict[str, Any]:
        """Return the move for machines."""
        return {
            "from": self.from_step.name,
            "to": self.to_step.name,
            "title": self.to_step.title,
            "direction": self.direction.value,
            "resumes": self.resumes,
            "gates": [{"gate": gate.name, "wants": gate.describe()} for gate in self.gates],
            "operations": [{"does": does, "undo": undo} for does, undo in self.lines()],
            "reversible": not self.irreversible,
        }


def plan_forwards(plan: Plan, state: State, target: Step | None) -> tuple[Move, ...]:
    """Return the moves from the state to ``target``, or one step on; a step begun is finished first."""
    here = plan.index(state.step)
    begun = _finish_forwards(plan, state)
    if begun is not None:
        here = plan.index(begun.to_step.name)
    there = plan.index(target.name) if target else (here if begun else min(here + 1, len(plan.steps) - 1))
    if there < here:
        hint = f" A step to {state.moving_to} is begun." if begun else ""
        raise WrongDirection(
            f"{plan.service} is at {state.step}, past {plan.steps[there].name}.{hint} "
            f"To go back: phase rollback {plan.service} --to {plan.steps[there].name}"
        )
    moves = [_whole(plan, index, Direction.FORWARDS) for index in range(here, there)]
    return (begun, *moves) if begun else tuple(moves)


def plan_backwards(plan: Plan, state: State, target: Step | None) -> tuple[Move, ...]:
    """Return the moves from the state back to ``target``, or one step; a step begun is undone first."""
    here = plan.index(state.step)
    begun = _finish_backwards(plan, state)
    if begun is not None:
        here = plan.index(begun.to_step.name)
    there = plan.index(target.name) if target else (here if begun else max(here - 1, 0))
    if there > here:
        raise WrongDirection(
            f"{plan.service} is at {state.step}, before {plan.steps[there].name}. "
            f"To go on: phase advance {plan.service} --to {plan.steps[there].name}"
        )
    moves = [_whole(plan, index - 1, Direction.BACKWARDS) for index in range(here, there, -1)]
    return (begun, *moves) if begun else tuple(moves)


PLANNERS = {Direction.FORWARDS: plan_forwards, Direction.BACKWARDS: plan_backwards}


def require_reversible(moves: tuple[Move, ...]) -> None:
    """Refuse the whole way back if one operation on it cannot be undone."""
    for move in moves:
        if move.direction is Direction.BACKWARDS and move.irreversible:
            names = ", ".join(type(operation).__name__ for operation in move.irreversible)
            raise Irreversible(
                f"{move.service} cannot go back over {move.upper.name}: {names} cannot be undone. Nothing was undone. "
                f"The furthest step back is {move.upper.name}."
            )


def homecomings(moves: tuple[Move, ...], measurements: Measurements) -> tuple[Homecoming, ...]:
    """Return what going this way back has to bring home, and what it would lose; change nothing."""
    returning: dict[str, frozenset[int]] = {}
    for move in moves:
        for _, operation in move.pending if move.direction is Direction.BACKWARDS else ():
            for aggregate, buckets in operation.brings_home().items():
                returning[aggregate] = returning.get(aggregate, frozenset()) | buckets
    return tuple(measurements.homecoming(aggregate, buckets) for aggregate, buckets in returning.items())


def require_lossless(service: str, found: tuple[Homecoming, ...]) -> None:
    """Refuse the whole way back if something could not be brought home."""
    problems = tuple(dict.fromkeys(problem for homecoming in found for problem in homecoming.problems))
    if problems:
        raise WouldLoseData(
            f"{service} cannot go back without losing data: {' '.join(problems)} Nothing was undone. Once that is "
            f"mended, `phase rollback {service}` goes back."
        )


def _whole(plan: Plan, lower: int, direction: Direction) -> Move:
    upper = plan.steps[lower + 1]
    return Move(
        service=plan.service,
        direction=direction,
        lower=plan.steps[lower],
        upper=upper,
        resumes=False,
        cursor=0 if direction is Direction.FORWARDS else len(upper.operations),
    )


def _between(plan: Plan, state: State) -> tuple[Step, Step]:
    low, high = sorted((plan.index(state.step), plan.index(state.moving_to)))
    return plan.steps[low], plan.steps[high]


def _finish_forwards(plan: Plan, state: State) -> Move | None:
    if not state.moving:
        return None
    lower, upper = _between(plan, state)
    # Turning round: the operation before the cursor may be half undone, so it is done again.
    turned = state.direction is Direction.BACKWARDS
    cursor = max(0, state.operations_done - 1) if turned else state.operations_done
    return Move(
        service=plan.service, direction=Direction.FORWARDS, lower=lower, upper=upper, resumes=True, cursor=cursor
    )


def _finish_backwards(plan: Plan, state: State) -> Move | None:
    if not state.moving:
        return None
    lower, upper = _between(plan, state)
    # Turning round: the operation at the cursor may be half done, so it is undone as well.
    turned = state.direction is Direction.FORWARDS
    cursor = min(len(upper.operations), state.operations_done + 1) if turned else state.operations_done
    return Move(
        service=plan.service, direction=Direction.BACKWARDS, lower=lower, upper=upper, resumes=True, cursor=cursor
    )
