"""What goes into a command that moves a service, and what comes out of it."""

from dataclasses import asdict, dataclass
from typing import Any

from migrations_plan.gates import GateResult
from migrations_plan.standing import Homecoming


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Something happened; ``passing`` says that the next line may take its place."""

    text: str
    passing: bool = False


@dataclass(frozen=True, kw_only=True)
class GateStop:
    """The step that could not be left, and what its gates said."""

    step: str
    results: tuple[GateResult, ...]

    @property
    def blocking(self) -> tuple[GateResult, ...]:
        """Return the results that did not pass."""
        return tuple(result for result in self.results if not result.passed)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a command did: the steps taken, and where gates stopped it."""

    service: str
    before: str
    after: str
    target: str
    steps: tuple[str, ...] = ()
    stop: GateStop | None = None
    homecomings: tuple[Homecoming, ...] = ()
    """What a rollback had to bring home, as it was known before it began."""

    @property
    def done(self) -> bool:
        """Return whether the target was reached."""
        return self.stop is None

    def as_json(self) -> dict[str, Any]:
        """Return what was done, for machines."""
        return {
            "service": self.service,
            "done": self.done,
            "before": self.before,
            "after": self.after,
            "target": self.target,
            "steps": list(self.steps),
            "stopped_by": [result.as_json() for result in self.stop.blocking] if self.stop else [],
            "gates": [result.as_json() for result in self.stop.results] if self.stop else [],
            "homecoming": [asdict(found) for found in self.homecomings],
        }


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a person asked for besides the target."""

    actor: str
    reason: str = ""
    overrides: frozenset[str] = frozenset()
    """Gates that may be passed although they do not hold; recorded with actor and reason."""
    wait: float = 0.0
    """Seconds to keep measuring, in all, until the gates pass."""


def silent(progress: Progress) -> None:
    """Report progress to nobody."""
