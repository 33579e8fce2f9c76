"""The public face of events: declare types and handlers, publish."""

from migrations_plan.sync.events.errors import (
    BrokerAway,
    DeclarationError,
    EventError,
    FutureVersion,
    NotInTransaction,
    Unfit,
    UnknownType,
    Unreadable,
)
from migrations_plan.sync.events.handlers import Effects, Event, Handler, handler_named, handlers, handlers_of, handles
from migrations_plan.sync.events.outbox import publish
from migrations_plan.sync.events.types import EventType, declared_types, event_type, upcasts

__all__ = [
    "BrokerAway",
    "DeclarationError",
    "Effects",
    "Event",
    "EventError",
    "EventType",
    "FutureVersion",
    "Handler",
    "NotInTransaction",
    "Unfit",
    "UnknownType",
    "Unreadable",
    "declared_types",
    "event_type",
    "handler_named",
    "handlers",
    "handlers_of",
    "handles",
    "publish",
    "upcasts",
]
