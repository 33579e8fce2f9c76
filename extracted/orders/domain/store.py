"""The port through which the service reaches orders, wherever they are kept."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from extracted.orders.domain.order import Address, Order, Status

PAGE_SIZE = 20


@dataclass(frozen=True, kw_only=True)
class WantedLine:
    """A product and how many of it somebody wants."""

    product: int
    quantity: int


@dataclass(frozen=True, kw_only=True)
class Wish:
    """An order as a customer asks for it: lines or the cart, an address or the id of one, perhaps a card."""

    customer: int
    lines: tuple[WantedLine, ...] | None
    """What to order; None orders the customer's cart and empties it."""
    address: Address | int
    note: str = ""
    card: str | None = None
    expected_total: Decimal | None = None
    """What the customer was shown; at another price nothing is ordered."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of a list of orders, newest first."""

    count: int
    number: int
    pages: int
    orders: tuple[Order, ...]


@dataclass(frozen=True, kw_only=True)
class SoldLine:
    """A line of a paid order, as reports need it."""

    line: int
    order: int
    customer: int
    paid_at: datetime
    product: int
    quantity: int
    amount: Decimal
    address: int | None
    """The entry of the address book that the order came from, if it is still there."""
    city: str
    refunded: bool


@dataclass(frozen=True, kw_only=True)
class Expiry:
    """What became of an order that was to expire."""

    expired: bool
    pieces: int = 0
    """How many pieces went back on the shelf."""


class OrderStore(Protocol):
    """Where orders are kept.

    The writes run inside the caller's transaction, together with the completion of its idempotency key. They never
    call another process; the attempts they leave open are the order's ``due``, for the caller to have run afterwards.
    A store that holds a replica refuses each of them with ReplicaIsReadOnly.
    """

    name: str
    """What ORDERS_STORE calls it."""

    def list_for(self, customer: int, page: str) -> Page:
        """Return a page of the customer's orders; raise PageNotFound."""
        ...

    def get(self, customer: int, order_id: int) -> Order:
        """Return the customer's order; raise OrderNotFound, for other people's orders too."""
        ...

    def place(self, wish: Wish) -> Order:
        """Take stock, keep the order and open the charge; raise Invalid, OutOfStock or CartChanged."""
        ...

    def cancel(self, customer: int, order_id: int) -> Order:
        """Call the order off, give its stock back and open the refund; raise OrderNotFound or NotCancellable."""
        ...

    def change_address(self, customer: int, order_id: int, address: Address) -> Order:
        """Send the order elsewhere; raise OrderNotFound or NotChangeable."""
        ...

    def mark_paid(self, order_id: int, at: datetime) -> Status:
        """Note that the money has arrived, if the order waits for it; return how it stands. Raises OrderNotFound."""
        ...

    def expire(self, order_id: int, placed_before: datetime) -> Expiry:
        """Give up an order that nobody paid for, and give its stock back; raise OrderNotFound."""
        ...

    def sold_lines(self, after: int, limit: int) -> tuple[SoldLine, ...]:
        """Return the lines of paid orders, in the order of their ids, from the one after ``after`` on."""
        ...

    def staff_list(self, status: Status | None, page: str) -> Page:
        """Return a page of everybody's orders, of one status if given; raise PageNotFound."""
        ...

    def staff_get(self, order_id: int) -> Order:
        """Return anybody's order; raise OrderNotFound."""
        ...

    def check(self) -> str:
        """Return which database keeps the orders, after it has answered; raise django.db.Error."""
        ...
