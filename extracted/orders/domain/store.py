"""The port through which the service reaches orders, wherever they are kept."""

from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of a list of orders, newest first."""

    count: int
    number: int
    pages: int
    orders: tuple[Order, ...]


class OrderStore(Protocol):
    """Where orders are kept.

    The writes run inside the caller's transaction, together with the completion of its idempotency key. They never
    call another process; the attempts they leave open are the order's ``due``, for the caller to have run afterwards.
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
        """Take stock, keep the order and open the charge; raise Invalid or OutOfStock."""
        ...

    def cancel(self, customer: int, order_id: int) -> Order:
        """Call the order off, give its stock back and open the refund; raise OrderNotFound or NotCancellable."""
        ...

    def change_address(self, customer: int, order_id: int, address: Address) -> Order:
        """Send the order elsewhere; raise OrderNotFound or NotChangeable."""
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
