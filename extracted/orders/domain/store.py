"""The port through which the service reaches orders, wherever they are kept."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

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


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """What was done about work that somebody had left unfinished."""

    sagas: int = 0
    """Sagas that were due."""
    finished: int = 0
    """Of these, how many have ended."""
    attempts: int = 0
    """Payment attempts that were left open."""
    settled: int = 0


class OrderStore(Protocol):
    """Where orders are kept.

    The writes run inside the caller's transaction, together with the completion of its idempotency key, and never call
    another process. What other processes have to do comes before it (``checkout``) or after it (``follow_up``), and is
    done once, in the end, also if this process dies in the middle (``resume``).
    """

    name: str
    """What ORDERS_STORE calls it."""
    rehearses: bool
    """Whether a checkout does nothing outside of the database, so that it may be done and rolled back."""

    def list_for(self, customer: int, page: str) -> Page:
        """Return a page of the customer's orders; raise PageNotFound."""
        ...

    def get(self, customer: int, order_id: int) -> Order:
        """Return the customer's order; raise OrderNotFound, for other people's orders too."""
        ...

    def checkout(self, wish: Wish) -> AbstractContextManager[Callable[[], Order]]:
        """Have ready what placing the order needs; gives what places it, for the caller's transaction.

        Enter it with no transaction open. If it is left without the order having been placed, nothing was done. Raises
        Invalid, OutOfStock, CartChanged or ShopUnavailable, on entering or from what places the order.
        """
        ...

    def cancel(self, customer: int, order_id: int) -> Order:
        """Call the order off, give its stock back and open the refund; raise OrderNotFound or NotCancellable."""
        ...

    def change_address(self, customer: int, order_id: int, address: Address) -> Order:
        """Send the order elsewhere; raise OrderNotFound or NotChangeable."""
        ...

    def open_charge(self, customer: int, order_id: int, card: str) -> UUID:
        """Open the charge of an order that waits for money, and return its key; raise OrderNotFound or NotPayable."""
        ...

    def mark_paid(self, order_id: int, at: datetime) -> Status:
        """Note that the money has arrived, if the order waits for it; return how it stands. Raises OrderNotFound."""
        ...

    def expire(self, order_id: int, placed_before: datetime) -> Expiry:
        """Give up an order that nobody paid for, and its stock with it; raise OrderNotFound."""
        ...

    def follow_up(self, order_id: int) -> bool:
        """Have done what a committed write has left to other processes; return whether the order may have changed."""
        ...

    def resume(self, limit: int) -> Resumed:
        """Go on with what somebody has left unfinished."""
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

    def written(self, answer: Mapping[str, Any]) -> Any:
        """Return the canonical document of the order in an answer, as this transaction sees it; None for none."""
        ...

    def check(self) -> str:
        """Return which database keeps the orders, after it has answered; raise django.db.Error."""
        ...
