"""What is known about a service's place on its way, as plain data."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from router.api import Envelope

BEFORE_EVERYTHING = datetime(1970, 1, 1, tzinfo=UTC)
"""When a service that never moved entered its first step: gates there may look at all that was ever measured."""


class Direction(StrEnum):
    """Which way a move goes."""

    FORWARDS = "forwards"
    BACKWARDS = "backwards"


class Kind(StrEnum):
    """What a line of history says."""

    BEGUN = "begun"
    """A step was begun, forwards or backwards."""
    OPERATION = "operation"
    """One operation of a step was done or undone."""
    TAKEN = "taken"
    """A step was completed; it is in force."""
    FAILED = "failed"
    """An operation failed or was interrupted; the step stays begun."""
    PICKED_UP = "picked up"
    """A step that another command had begun was picked up."""
    PAUSED = "paused"
    """Advancing was forbidden."""
    RESUMED = "resumed"
    """Advancing was allowed again."""


@dataclass(frozen=True, kw_only=True)
class State:
    """One service's state as it was read; ``version`` 0 means that it has no row yet."""

    service: str
    step: str
    envelope: Envelope
    entered_at: datetime
    version: int = 0
    paused: bool = False
    moving_to: str = ""
    direction: Direction | None = None
    operations_done: int = 0
    holder: str = ""
    lease_until: datetime | None = None

    @property
    def entered(self) -> bool:
        """Return whether the step was ever entered; the first one of a service that never moved was not."""
        return self.entered_at > BEFORE_EVERYTHING

    @property
    def moving(self) -> bool:
        """Return whether a step was begun and has not ended."""
        return bool(self.moving_to)

    def held_at(self, now: datetime) -> bool:
        """Return whether a command that counts as alive is moving the service."""
        return bool(self.holder) and self.lease_until is not None and self.lease_until > now


@dataclass(frozen=True, kw_only=True)
class Change:
    """The line of history that goes with one change of state."""

    kind: Kind
    actor: str
    from_step: str = ""
    to_step: str = ""
    reason: str = ""
    detail: str = ""
    evidence: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class HistoryLine:
    """One line of history as it was written."""

    service: str
    version: int
    at: datetime
    change: Change

    def as_json(self) -> dict[str, Any]:
        """Return the line for machines."""
        return {
            "version": self.version,
            "at": self.at.isoformat(),
            "actor": self.change.actor,
            "kind": self.change.kind.value,
            "from": self.change.from_step,
            "to": self.change.to_step,
            "reason": self.change.reason,
            "detail": self.change.detail,
            "evidence": list(self.change.evidence),
        }
