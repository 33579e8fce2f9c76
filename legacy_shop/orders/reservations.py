"""Hold stock for orders that a service is about to write, and take back what its orders give up.

A service cannot take stock in the transaction of its order, so it does it in two steps: *reserve* takes the pieces at
once, and out of the cart what is ordered from there; *confirm* says that the order has come to be, *release* gives all
of it back. Each takes effect once for its saga, in whatever order and however often the requests arrive: a reservation
that comes after its release is refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from legacy_shop.cart.services import empty, locked_lines_of, put_back
from legacy_shop.catalog.models import Restock, StockReservation
from legacy_shop.errors import Missing, Refused, ShopError
from legacy_shop.orders.documents import money
from legacy_shop.orders.exceptions import EmptyCart
from legacy_shop.orders.refusals import refusal_of
from legacy_shop.orders.services import ShipTo, address_of
from legacy_shop.orders.shelf import LineRequest, PricedLine, give_back, price, take

CURRENCY = "USD"
KEEP_DAYS = 30
"""For how long a reservation that has ended is remembered, against requests that come late."""
State = StockReservation.State


class UnknownCustomer(Missing):
    """There is no such customer."""


class CartHeld(Refused):
    """The cart is being ordered at this moment."""

    code = "cart_held"


class NotReserved(Refused):
    """The reservation has ended in another way."""

    code = "not_reserved"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a service wants for an order of a customer."""

    customer_id: int
    lines: Sequence[LineRequest] | None
    """None: what is in the customer's cart."""
    address: int | dict[str, str]
    """The id of an entry of the address book, or a place."""
    expected_total: Decimal | None = None


def reserve(saga: UUID, wanted: Wanted) -> tuple[int, Any]:
    """Take the pieces; return status and document of the answer, the same one for the same saga at any time.

    The document has the lines at today's prices, where the parcel goes, and what it costs; or says what is refused.
    """
    try:
        with transaction.atomic():
            return _answered(_reserve(saga, wanted))
    except CartHeld:  # somebody is at it, and not for long: nothing to remember
        raise
    except ShopError as error:
        return _answered(_refuse(saga, wanted, error))


def confirm(saga: UUID) -> None:
    """Let the order have its pieces. Raises NotReserved."""
    with transaction.atomic():
        row = _locked(saga)
        if row is None or row.state in {State.RELEASED, State.REFUSED}:
            raise NotReserved
        if row.state == State.RESERVED:
            _end(row, State.CONFIRMED)


def release(saga: UUID) -> None:
    """Give back what was taken, if it was, and see to it that it is not taken later. Raises NotReserved."""
    with transaction.atomic():
        row = _made_or_locked(saga, lambda: _ended(saga, State.RELEASED))
        if row.state == State.CONFIRMED:
            raise NotReserved
        if row.state == State.RESERVED:
            _end(row, State.RELEASED)
            give_back((product, quantity) for product, quantity in row.lines)
            if row.from_cart:
                put_back(row.customer_id, row.lines)


def restock(key: str, lines: Sequence[LineRequest]) -> None:
    """Put the pieces of an order that was given up back on the shelf, once per key."""
    pieces = [(line.product_id, line.quantity) for line in lines]
    with transaction.atomic():
        if Restock.objects.get_or_create(key=key, defaults={"lines": pieces})[1]:
            give_back(pieces)


def unconfirmed(older_than: timedelta) -> list[StockReservation]:
    """Return reservations whose sagas should have ended by now, oldest first; only the sagas can end them."""
    return list(StockReservation.objects.filter(state=State.RESERVED, made_at__lte=timezone.now() - older_than))


def purge(keep_days: float = KEEP_DAYS) -> int:
    """Forget reservations that have ended, and restocks, of long ago; return how many."""
    before = timezone.now() - timedelta(days=keep_days)
    ended = StockReservation.objects.filter(ended_at__lt=before).delete()[0]
    return ended + Restock.objects.filter(made_at__lt=before).delete()[0]


def _reserve(saga: UUID, wanted: Wanted) -> StockReservation:
    """Write the reservation down before anything is taken: whoever comes second for the saga waits, and finds it."""
    from_cart = wanted.lines is None
    fresh = StockReservation(saga=saga, state=State.RESERVED, customer_id=wanted.customer_id, from_cart=from_cart)
    row = _made_or_locked(saga, lambda: fresh)
    if row is not fresh:
        return row
    customer = User.objects.filter(pk=wanted.customer_id).first()
    if customer is None:
        raise UnknownCustomer
    ship_to, entry = _place(customer, wanted.address)
    lines, total = price(_lines(customer, wanted), wanted.expected_total)
    take(lines)
    if from_cart:
        empty(customer)
    row.lines = [(line.product.pk, line.quantity) for line in lines]
    row.answer = _document(lines, total, ship_to, entry)
    row.save(update_fields=["lines", "answer"])
    return row


def _refuse(saga: UUID, wanted: Wanted, error: ShopError) -> StockReservation:
    """Remember a refusal, so that a copy of the request that arrives later takes nothing either."""
    answer = refusal_of(error)
    if answer is None:
        raise error
    refused = _ended(saga, State.REFUSED)
    refused.customer_id, (refused.status, refused.answer) = wanted.customer_id, answer
    with transaction.atomic():
        return _made_or_locked(saga, lambda: refused)


def _answered(row: StockReservation) -> tuple[int, Any]:
    if row.state == State.RELEASED:
        raise NotReserved("The reservation was called off.")
    return row.status, row.answer


def _lines(customer: User, wanted: Wanted) -> Sequence[LineRequest]:
    if wanted.lines is not None:
        return wanted.lines
    lines = [LineRequest(line.product_id, line.quantity) for line in locked_lines_of(customer)]
    if not lines:
        raise EmptyCart
    return lines


def _place(customer: User, address: int | dict[str, str]) -> tuple[ShipTo, int | None]:
    if isinstance(address, int):
        entry = address_of(customer, address)
        return ShipTo.of(entry), entry.pk
    return ShipTo(**address), None


def _document(lines: Sequence[PricedLine], total: Decimal, ship_to: ShipTo, entry: int | None) -> dict[str, Any]:
    return {
        "currency": CURRENCY,
        "total": money(total),
        "ship_to": vars(ship_to),
        "address_entry": entry,
        "lines": [
            {
                "product": line.product.pk,
                "sku": line.product.sku,
                "name": line.product.name,
                "quantity": line.quantity,
                "unit_price": money(line.product.price),
            }
            for line in lines
        ],
    }


def _made_or_locked(saga: UUID, make: Callable[[], StockReservation]) -> StockReservation:
    """Return the saga's reservation, locked; the one that ``make`` returns if there was none.

    Raises CartHeld if the customer's cart is held by another reservation.
    """
    row = _locked(saga)
    if row is not None:
        return row
    made = make()
    try:
        with transaction.atomic():
            made.save(force_insert=True)
    except IntegrityError:
        row = _locked(saga)
        if row is None:
            raise CartHeld from None
        return row
    return made


def _locked(saga: UUID) -> StockReservation | None:
    return StockReservation.objects.select_for_update().filter(pk=saga).first()


def _ended(saga: UUID, state: StockReservation.State) -> StockReservation:
    now: datetime = timezone.now()
    return StockReservation(saga=saga, state=state, made_at=now, ended_at=now)


def _end(row: StockReservation, state: StockReservation.State) -> None:
    StockReservation.objects.filter(pk=row.pk).update(state=state, ended_at=timezone.now())
