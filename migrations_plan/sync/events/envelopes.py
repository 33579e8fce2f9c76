"""An event as it travels: JSON with everything a consumer has to know about it."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from migrations_plan.sync.events.errors import Unreadable
from migrations_plan.sync.events.models import OutboxEvent


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """One event under way."""

    id: uuid.UUID
    stream: str
    """Whose outbox it comes from."""
    type: str
    version: int
    aggregate: str
    key: str
    sequence: int
    occurred_at: datetime
    payload: dict[str, Any]
    after: dict[str, int] = field(default_factory=dict)
    """By consumer, the number of the aggregate's event that it gets before this one; nobody waits for what it does not
    get."""

    @classmethod
    def of(cls, event: OutboxEvent, *, stream: str, after: dict[str, int]) -> "Envelope":
        """Put a published event into an envelope."""
        return cls(
            id=event.event_id,
            stream=stream,
            type=event.type,
            version=event.version,
            aggregate=event.aggregate,
            key=event.key,
            sequence=event.sequence,
            occurred_at=event.occurred_at,
            payload=event.payload,
            after=after,
        )

    def as_json(self) -> dict[str, Any]:
        """Return what is sent."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data


def read(raw: object) -> Envelope:
    """Return the envelope that a message holds; raise Unreadable if it holds none."""
    try:
        envelope = msgspec.convert(raw, Envelope)
    except msgspec.ValidationError as error:
        raise Unreadable(f"The message is no event: {error}.") from error
    if envelope.occurred_at.tzinfo is None:
        raise Unreadable(f"The message is no event: occurred_at {envelope.occurred_at} has no time zone.")
    if envelope.sequence < 1:
        raise Unreadable(f"The message is no event: its sequence is {envelope.sequence}, and events count from 1.")
    return envelope
