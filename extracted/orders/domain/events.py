"""What happens to orders, told on the bus inside this program in the transaction in which it happens."""

from dataclasses import dataclass

from extracted.orders.domain.order import Order


@dataclass(frozen=True)
class OrderPlaced:
    """A customer has ordered."""

    order: Order


@dataclass(frozen=True)
class OrderPaid:
    """The money of an order has arrived, or it costs nothing."""

    order: Order


@dataclass(frozen=True)
class OrderCancelled:
    """An order was called off."""

    order: Order
