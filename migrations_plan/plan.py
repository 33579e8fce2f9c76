"""The declared way of one service: ordered phases, each of ordered, reversible steps. Data, nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from migrations_plan.errors import UnknownStep
from migrations_plan.gates import Gate
from migrations_plan.operations import Operation
from router.api import Envelope


@dataclass(frozen=True, kw_only=True)
class Step:
    """One rung: what it allows, what is done to get there, and what must hold before it is left forwards."""

    name: str
    title: str
    reads: int = 0
    writes: int = 0
    shadow: int = 0
    store: str = "shared"
    shadow_store: str = ""
    """Which store gets copies of reads. Empty: the one that answers, of reads that legacy still answers."""
    owned_store: str = "own"
    """Which store answers for the buckets that the service owns, whatever the rest says."""
    operations: tuple[Operation, ...] = ()
    gates: tuple[Gate, ...] = ()

    @property
    def group(self) -> str:
        """Return the name without its percentage: ``shared.reads`` of ``shared.reads@10``."""
        return self.name.partition("@")[0]

    @property
    def envelope(self) -> Envelope:
        """Return the most that may be diverted in this step."""
        return Envelope(
            step=self.name,
            reads=self.reads,
            writes=self.writes,
            shadow=self.shadow,
            store=self.store,
            shadow_store=self.shadow_store,
            owned_store=self.owned_store,
        )

    @property
    def reversible(self) -> bool:
        """Return whether the step can be undone."""
        return all(operation.reversible for operation in self.operations)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Steps that belong together."""

    name: str
    title: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All phases of one service, the first step being the monolith as it was."""

    service: str
    phases: tuple[Phase, ...]

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Return all steps, in order."""
        return tuple(step for phase in self.phases for step in phase.steps)

    @property
    def start(self) -> Step:
        """Return the step of a service that was never moved."""
        return self.steps[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all steps, in order."""
        return tuple(step.name for step in self.steps)

    @property
    def point_of_no_return(self) -> Step | None:
        """Return the first step that cannot be undone; None if each can."""
        return next((step for step in self.steps if not step.reversible), None)

    def index(self, name: str) -> int:
        """Return where on the way the step with exactly this name is."""
        if name not in self.names:
            raise UnknownStep(self.service, name, self.names)
        return self.names.index(name)

    def find(self, target: str) -> Step:
        """Return the step a person means: its name, or the last step of a group (shared.reads) or phase (shared)."""
        found = list(self._meant(target))
        if not found:
            raise UnknownStep(self.service, target, self.names)
        return found[-1]

    def _meant(self, target: str) -> Iterator[Step]:
        for phase in self.phases:
            for step in phase.steps:
                if target in {step.name, step.group, phase.name}:
                    yield step
