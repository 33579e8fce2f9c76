"""Place, cancel and redirect orders.

Locks are always taken in the same order, here, in payments and in every service that shares the tables: the order's
row first, then stock in ascending product id. That is what keeps concurrent requests from deadlocking.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from legacy_shop.accounts.models import Address
from legacy_shop.cart.services import empty
from legacy_shop.orders.events import OrderCancelled, OrderPaid, OrderPlaced
from legacy_shop.orders.exceptions import NotCancellable, NotChangeable, UnknownAddress, UnknownOrder
from legacy_shop.orders.models import Order, OrderLine
from legacy_shop.orders.shelf import LineRequest, PricedLine, give_back, price, take
from legacy_shop.payments import ledger
from migrations_plan.sync.events import bus

BEFORE_SHIPPING = (Order.Status.PENDING, Order.Status.PAID)
"""The states in which the parcel has not left and everything about it can still change."""


@dataclass(frozen=True, kw_only=True)
class ShipTo:
    """Where a parcel goes."""

    name: str
    street: str
    city: str
    postcode: str
    country: str

    @classmethod
    def of(cls, address: Address) -> "ShipTo":
        """Return where an entry of the address book points."""
        return cls(
            name=address.name,
            street=address.street,
            city=address.city,
            postcode=address.postcode,
            country=address.country,
        )

    @property
    def columns(self) -> dict[str, str]:
        """Return the columns of an order that hold this address."""
        return {
            "ship_name": self.name,
            "ship_street": self.street,
            "ship_city": self.city,
            "ship_postcode": self.postcode,
            "ship_country": self.country,
        }


def address_of(customer: User, address_id: int) -> Address:
    """Return an entry of the customer's address book; raise UnknownAddress, for other people's entries too."""
    address = Address.objects.filter(user=customer, pk=address_id).first()
    if address is None:
        raise UnknownAddress(f'Invalid pk "{address_id}" - object does not exist.')
    return address


def place_order(
    *,
    customer: User,
    lines: Sequence[LineRequest],
    ship_to: ShipTo,
    shipping_address: Address | None = None,
    note: str = "",
    card: str | None = None,
    empty_cart: bool = False,
    expected_total: Decimal | None = None,
) -> Order:
    """Take stock, write the order and open its charge, all or nothing; the provider is called after the commit.

    Raises UnknownProduct, OutOfStock or OrderTooLarge, and CartChanged at another total than expected. The caller runs
    the charge with ``run_due_attempts``.
    """
    now = timezone.now()
    with transaction.atomic():
        priced, total = price(lines, expected_total)
        take(priced)
        order = Order.objects.create(
            number=_new_number(now),
            customer=customer,
            shipping_address=shipping_address,
            **ship_to.columns,
            total=total,
            note=note,
            placed_at=now,
        )
        OrderLine.objects.bulk_create(_line(order, line) for line in priced)
        if empty_cart:
            empty(customer)
        bus.emit(OrderPlaced(order))
        if not total:
            _settle_free(order, now)
        elif card:
            ledger.open_charge(order, card, now)
    return order


def cancel_order(order_id: int, *, customer: User | None = None) -> Order:
    """Call the order off, give its stock back and open the refund of what was charged.

    Raises UnknownOrder or NotCancellable. A charge still open is refunded by whoever settles it; the caller runs what
    is due with ``run_due_attempts``.
    """
    now = timezone.now()
    with transaction.atomic():
        order = _locked(order_id, customer)
        if order.status not in BEFORE_SHIPPING:
            raise NotCancellable(f"Order {order.number} is {_label(order)} and can no longer be cancelled.")
        order.status, order.closed_at = Order.Status.CANCELLED, now
        Order.objects.filter(pk=order.pk).update(status=order.status, closed_at=now)
        give_back(order.lines.values_list("product_id", "quantity"))
        ledger.open_refund_if_charged(order, now)
        bus.emit(OrderCancelled(order))
    return order


def mark_paid(order_id: int, at: datetime) -> Order:
    """Note that the money has arrived, if the order waits for it; anything else stays as it is. Raises UnknownOrder."""
    with transaction.atomic():
        order = _locked(order_id, None)
        if order.status == Order.Status.PENDING:
            order.status, order.paid_at = Order.Status.PAID, at
            Order.objects.filter(pk=order.pk).update(status=order.status, paid_at=at)
            bus.emit(OrderPaid(order))
    return order


def change_address(order_id: int, ship_to: ShipTo, *, customer: User | None = None) -> Order:
    """Send the order elsewhere; the address book entry it came from is no longer its address.

    Raises UnknownOrder or NotChangeable.
    """
    with transaction.atomic():
        order = _locked(order_id, customer)
        if order.status not in BEFORE_SHIPPING:
            raise NotChangeable(f"Order {order.number} is {_label(order)} and its address can no longer be changed.")
        for column, value in {**ship_to.columns, "shipping_address": None}.items():
            setattr(order, column, value)
        Order.objects.filter(pk=order.pk).update(**ship_to.columns, shipping_address=None)
    return order


def _locked(order_id: int, customer: User | None) -> Order:
    """Return the order with its row locked until the transaction ends."""
    orders = Order.objects.select_for_update().filter(pk=order_id)
    order = (orders if customer is None else orders.filter(customer=customer)).first()
    if order is None:
        raise UnknownOrder
    return order


def _label(order: Order) -> str:
    return Order.Status(order.status).label


def _line(order: Order, line: PricedLine) -> OrderLine:
    return OrderLine(
        order=order,
        product=line.product,
        sku=line.product.sku,
        name=line.product.name,
        quantity=line.quantity,
        unit_price=line.product.price,
        amount=line.amount,
    )


def _settle_free(order: Order, now: datetime) -> None:
    """Mark an order that costs nothing as paid: no provider would take a charge of zero."""
    order.status, order.paid_at = Order.Status.PAID, now
    Order.objects.filter(pk=order.pk).update(status=order.status, paid_at=now)
    bus.emit(OrderPaid(order))


def _new_number(now: datetime) -> str:
    """Return a number that can be read out on the phone and is not guessed."""
    return f"{now:%y%m%d}-{secrets.token_hex(6).upper()}"
