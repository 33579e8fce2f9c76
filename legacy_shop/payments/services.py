"""Move money: attempt committed, provider called outside of any transaction, settlement committed.

A process may die between any two of these. The attempt then stays open, and ``settle_open`` asks the provider again
with the same key, which gives the same answer and moves no money twice.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from legacy_shop.orders.exceptions import UnknownOrder
from legacy_shop.orders.models import Order
from legacy_shop.orders.signals import order_paid
from legacy_shop.payments import ledger, provider
from legacy_shop.payments.exceptions import NotPayable, ProviderUnavailable
from legacy_shop.payments.ledger import Kind, State
from legacy_shop.payments.models import PaymentAttempt
from legacy_shop.payments.provider import Answer

logger = logging.getLogger(__name__)

CLOSED = (Order.Status.CANCELLED, Order.Status.EXPIRED)
GIVE_UP_AFTER = 3
"""So many attempts in a row that reach nobody end a pass; the next one starts over."""


@dataclass(frozen=True, kw_only=True)
class SettleReport:
    """What a pass over the open attempts did."""

    found: int
    succeeded: int
    failed: int
    still_open: int

    def __str__(self) -> str:
        outcomes = f"{self.succeeded} succeeded, {self.failed} failed, {self.still_open} still open"
        return f"{self.found} open attempts: {outcomes}"


def open_payment(order_id: int, card: str, *, customer: User | None = None) -> PaymentAttempt:
    """Write down, in the caller's transaction, that an order is going to be charged.

    Raises UnknownOrder or NotPayable.
    """
    with transaction.atomic():
        orders = Order.objects.select_for_update().filter(pk=order_id)
        order = (orders if customer is None else orders.filter(customer=customer)).first()
        if order is None:
            raise UnknownOrder
        if order.status != Order.Status.PENDING:
            raise NotPayable(f"Order {order.number} is {Order.Status(order.status).label} and waits for no money.")
        charge = ledger.live_charge_of(order)
        if charge is not None:
            raise NotPayable(f"Order {order.number} has a charge already, which is {charge.state}.")
        return ledger.open_charge(order, card, timezone.now())


def pay_order(order: Order, card: str) -> PaymentAttempt:
    """Charge the order and return how the attempt stands; still open if the provider gave no answer."""
    attempt = open_payment(order.pk, card)
    return run_attempt(attempt.provider_key)


def run_attempt(provider_key: UUID) -> PaymentAttempt:
    """Ask the provider and settle the attempt; it stays open if nothing certain was answered."""
    try:
        return _run(provider_key)
    except ProviderUnavailable as error:
        logger.warning("attempt %s stays open: %s", provider_key, error)
        return PaymentAttempt.objects.get(provider_key=provider_key)


def run_due_attempts(order_id: int) -> None:
    """Run what is open for an order; call it after the transaction that opened it has committed."""
    for key in _open_keys(order_id=order_id):
        run_attempt(key)


def open_attempts(older_than: timedelta | None = None) -> list[UUID]:
    """Return the keys of the attempts nobody is working on any more, oldest first."""
    age = timedelta(seconds=settings.PAYMENT_PROVIDER_TIMEOUT + 1) if older_than is None else older_than
    return _open_keys(created_at__lte=timezone.now() - age)


def settle_open(
    *,
    limit: int = 200,
    older_than: timedelta | None = None,
    progress: Callable[[PaymentAttempt | None], None] | None = None,
) -> SettleReport:
    """Ask the provider about attempts left open; by default those older than any request could still be working on."""
    keys = open_attempts(older_than)[:limit]
    states: list[str] = []
    unreached = 0
    for key in keys:
        attempt = None
        try:
            attempt = _run(key)
            unreached = 0
        except ProviderUnavailable as error:
            logger.warning("attempt %s is still open: %s", key, error)
            unreached = 0 if error.reached else unreached + 1
        states.append(attempt.state if attempt else State.OPEN)
        if progress is not None:
            progress(attempt)
        if unreached == GIVE_UP_AFTER:
            logger.warning("the provider cannot be reached: %d attempts are left for later", len(keys) - len(states))
            break
    succeeded, failed = states.count(State.SUCCEEDED), states.count(State.FAILED)
    return SettleReport(found=len(keys), succeeded=succeeded, failed=failed, still_open=len(keys) - succeeded - failed)


def _open_keys(**conditions: object) -> list[UUID]:
    attempts = PaymentAttempt.objects.filter(state=State.OPEN, **conditions)
    return list(attempts.order_by("pk").values_list("provider_key", flat=True))


def _run(provider_key: UUID) -> PaymentAttempt:
    """Ask, settle, and follow up with the refund if the order was closed meanwhile."""
    attempt = PaymentAttempt.objects.select_related("order").get(provider_key=provider_key)
    if attempt.state != State.OPEN:
        return attempt
    refund = _settle(attempt, provider.ask(attempt))
    if refund is not None:
        run_attempt(refund.provider_key)
    attempt.refresh_from_db(fields=("state", "provider_reference", "failure", "settled_at"))
    return attempt


def _settle(attempt: PaymentAttempt, answer: Answer) -> PaymentAttempt | None:
    """Commit the provider's answer once, and return the refund that it makes necessary."""
    now = timezone.now()
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=attempt.order_id)
        won = PaymentAttempt.objects.filter(pk=attempt.pk, state=State.OPEN).update(
            state=State.SUCCEEDED if answer.succeeded else State.FAILED,
            provider_reference=answer.reference,
            failure=answer.failure,
            settled_at=now,
        )
        if not won or not answer.succeeded or attempt.kind != Kind.CHARGE:
            return None
        if Order.objects.filter(pk=order.pk, status=Order.Status.PENDING).update(status=Order.Status.PAID, paid_at=now):
            order.status, order.paid_at = Order.Status.PAID, now
            transaction.on_commit(partial(order_paid.send_robust, sender=Order, order=order))
            return None
        return ledger.open_refund_if_charged(order, now) if order.status in CLOSED else None
