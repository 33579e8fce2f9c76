"""Types of sagas: their steps, in order, and the point of no return among them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

from router.sagas.errors import SagaMisused, UnknownSaga


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a step is told."""

    saga: UUID
    step: str
    key: str
    """The partition key: whose data it is about."""
    data: Mapping[str, Any]
    """What the saga was begun with."""
    results: Mapping[str, Any] = field(default_factory=dict)
    """What the steps before have returned, by name."""
    undoing: bool = False

    @property
    def idempotency_key(self) -> str:
        """Return the key for the step's remote call: the same at each try, another for each step and its undoing."""
        return f"{self.saga}:{self.step}{':undo' if self.undoing else ''}"


Action: TypeAlias = Callable[[Context], Any]
"""Does a step, idempotently, and returns what JSON can hold. Called with no transaction open."""
Compensation: TypeAlias = Callable[[Context], None]
"""Undoes a step, idempotently. It is called also when nobody knows whether the step has happened, or will yet."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A call to another process."""

    name: str
    action: Action
    compensation: Compensation | None = None
    harmless: bool = False
    """Whether a step before the point of no return needs no undoing."""
    refusals: tuple[type[Exception], ...] = ()
    """Exceptions of the action that say for certain that it has done nothing, so that nothing is to be undone."""


@dataclass(frozen=True, kw_only=True)
class Pivot:
    """The point of no return: a transaction of the caller's, in which the saga is advanced with what it is about."""

    name: str


@dataclass(frozen=True, kw_only=True)
class SagaType:
    """What there is to do.

    With a ``Pivot`` it is *run*: steps before it can be undone, those after it are done in the end. Without one it is
    *enlisted* in a transaction, and everything of it comes after the point of no return.
    """

    name: str
    service: str
    """Whose buckets it counts in."""
    steps: tuple[Step | Pivot, ...]

    @property
    def pivot(self) -> int | None:
        """Return where the point of no return is."""
        return next((number for number, step in enumerate(self.steps) if isinstance(step, Pivot)), None)

    def step(self, number: int) -> Step:
        """Return a step that is a call."""
        found = self.steps[number]
        if isinstance(found, Pivot):
            raise SagaMisused(f"{self.name}: {found.name} is the caller's transaction, not a step to call.")
        return found

    def problems(self) -> list[str]:
        """Return what cannot work, for people."""
        names = [step.name for step in self.steps]
        found = [f"has no step of its own: {names}"] if not any(isinstance(step, Step) for step in self.steps) else []
        found += [f"has two steps named {name!r}" for name in sorted({n for n in names if names.count(n) > 1})]
        if sum(isinstance(step, Pivot) for step in self.steps) > 1:
            found.append("has two points of no return")
        turn = self.pivot if self.pivot is not None else -1
        for number, step in enumerate(self.steps):
            if isinstance(step, Step):
                found += _problems(step, before=number < turn)
        return found


def _problems(step: Step, *, before: bool) -> list[str]:
    if before and step.compensation is None and not step.harmless:
        return [f"cannot undo {step.name!r}, which comes before the point of no return. Say how, or harmless=True"]
    if not before and (step.compensation is not None or step.refusals):
        return [f"would never undo {step.name!r}: what comes after the point of no return only goes forward"]
    return []


_declared: dict[str, SagaType] = {}


def declare(kind: SagaType) -> SagaType:
    """Make a type known to whoever resumes sagas; the same name twice is a mistake."""
    known = _declared.get(kind.name)
    if known is not None and known != kind:
        raise SagaMisused(f"The saga {kind.name!r} is declared twice. Rename one.")
    _declared[kind.name] = kind
    return kind


def declared() -> tuple[SagaType, ...]:
    """Return all declared types, sorted by name."""
    return tuple(kind for _, kind in sorted(_declared.items()))


def find(name: str) -> SagaType:
    """Return the type of this name; raise UnknownSaga."""
    try:
        return _declared[name]
    except KeyError:
        raise UnknownSaga(f"This program knows no saga {name!r}, only: {', '.join(sorted(_declared))}.") from None
