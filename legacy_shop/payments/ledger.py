"""The rows of the payment ledger: opened in the transaction of what they pay for. Nothing here calls the provider."""

from collections.abc import Iterable
from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from legacy_shop.orders.exceptions import UnknownOrder
from legacy_shop.orders.models import Order
from legacy_shop.payments.exceptions import NotPayable
from legacy_shop.payments.models import PaymentAttempt

Kind, State = PaymentAttempt.Kind, PaymentAttempt.State
LIVE = (State.OPEN, State.SUCCEEDED)
"""The states of which an order may have one charge and one refund."""
PAYMENT_STATES = (
    (Kind.REFUND, State.SUCCEEDED, "refunded"),
    (Kind.REFUND, State.OPEN, "refunding"),
    (Kind.CHARGE, State.SUCCEEDED, "paid"),
    (Kind.CHARGE, State.OPEN, "open"),
    (Kind.CHARGE, State.FAILED, "failed"),
)
"""What became of an order's money, by the first kind of attempt it has."""


def payment_state(attempts: Iterable[PaymentAttempt]) -> str:
    """Return what became of the money of an order with these attempts."""
    known = {(attempt.kind, attempt.state) for attempt in attempts}
    return next((name for kind, state, name in PAYMENT_STATES if (kind, state) in known), "none")


def open_payment(order_id: int, card: str, *, customer: User | None = None) -> PaymentAttempt:
    """Write down, in the caller's transaction, that an order that waits for money is going to be charged.

    Raises UnknownOrder or NotPayable.
    """
    with transaction.atomic():
        orders = Order.objects.select_for_update().filter(pk=order_id)
        order = (orders if customer is None else orders.filter(customer=customer)).first()
        if order is None:
            raise UnknownOrder
        if order.status != Order.Status.PENDING:
            raise NotPayable(f"Order {order.number} is {Order.Status(order.status).label} and waits for no money.")
        charge = live_charge_of(order)
        if charge is not None:
            raise NotPayable(f"Order {order.number} has a charge already, which is {charge.state}.")
        return open_charge(order, card, timezone.now())


def open_charge(order: Order, card: str, now: datetime) -> PaymentAttempt:
    """Write down that the order is going to be charged."""
    return PaymentAttempt.objects.create(
        order=order, kind=Kind.CHARGE, amount=order.total, currency=order.currency, card=card, created_at=now
    )


def open_refund_if_charged(order: Order, now: datetime) -> PaymentAttempt | None:
    """Write down that the order's charge goes back, if it has one and it is not going back already."""
    charge = charge_of(order)
    if charge is None or PaymentAttempt.objects.filter(order=order, kind=Kind.REFUND, state__in=LIVE).exists():
        return None
    return PaymentAttempt.objects.create(
        order=order,
        kind=Kind.REFUND,
        amount=charge.amount,
        currency=charge.currency,
        card=charge.card,
        created_at=now,
    )


def charge_of(order: Order) -> PaymentAttempt | None:
    """Return the charge by which the order was paid."""
    return PaymentAttempt.objects.filter(order=order, kind=Kind.CHARGE, state=State.SUCCEEDED).first()


def live_charge_of(order: Order) -> PaymentAttempt | None:
    """Return the charge that has succeeded or still may."""
    return PaymentAttempt.objects.filter(order=order, kind=Kind.CHARGE, state__in=LIVE).first()


def count_open_attempts(order_id: int) -> int:
    """Return how many attempts of an order have no certain end yet."""
    return PaymentAttempt.objects.filter(order_id=order_id, state=State.OPEN).count()
