"""Tell other programs what happened to orders: domain events of this one become integration events in the outbox.

The shop declares the same types for itself; a test compares them.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from extracted.orders.domain import events
from extracted.orders.domain.order import Order
from migrations_plan.sync.events import bus
from migrations_plan.sync.events.api import event_type, publish


@event_type("orders.order.placed", version=1)
@dataclass(frozen=True, kw_only=True)
class OrderPlaced:
    """A customer has ordered."""

    order: int
    number: str
    customer: int
    total: Decimal
    currency: str


@event_type("orders.order.paid", version=1)
@dataclass(frozen=True, kw_only=True)
class OrderPaid:
    """The money of an order has arrived, or it costs nothing."""

    order: int
    number: str
    customer: int
    total: Decimal
    currency: str


@event_type("orders.order.cancelled", version=1)
@dataclass(frozen=True, kw_only=True)
class OrderCancelled:
    """An order was called off."""

    order: int
    number: str
    customer: int
    total: Decimal
    currency: str


@bus.on(events.OrderPlaced)
def tell_placed(event: events.OrderPlaced) -> None:
    """Publish that a customer has ordered."""
    publish(OrderPlaced(**_facts(event.order)), key=event.order.id, owner=event.order.customer)


@bus.on(events.OrderPaid)
def tell_paid(event: events.OrderPaid) -> None:
    """Publish that the money has arrived."""
    publish(OrderPaid(**_facts(event.order)), key=event.order.id, owner=event.order.customer)


@bus.on(events.OrderCancelled)
def tell_cancelled(event: events.OrderCancelled) -> None:
    """Publish that the order was called off."""
    publish(OrderCancelled(**_facts(event.order)), key=event.order.id, owner=event.order.customer)


def _facts(order: Order) -> dict[str, Any]:
    return {
        "order": order.id,
        "number": order.number,
        "customer": order.customer,
        "total": order.total.amount,
        "currency": order.total.currency,
    }
