"""Move money: attempt committed, provider called outside of any transaction, settlement committed, order told.

A process may die between any two of these. An attempt that stays open is asked about again by ``settle_open``, with the
same key, which gives the same answer and moves no money twice. A charge whose order was not told is told again, which
an order that knows it takes no notice of.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from legacy_shop.orders.exceptions import UnknownOrder
from legacy_shop.orders.models import Order
from legacy_shop.orders.operations import mark_paid
from legacy_shop.payments import ledger, provider
from legacy_shop.payments.exceptions import NotPayable, ProviderUnavailable
from legacy_shop.payments.ledger import Kind, State
from legacy_shop.payments.models import PaymentAttempt
from legacy_shop.payments.provider import Answer
from router.exceptions import StranglerError

logger = logging.getLogger(__name__)

CLOSED = {str(Order.Status.CANCELLED.label), str(Order.Status.EXPIRED.label)}
UNTOLD = Q(kind=Kind.CHARGE, state=State.SUCCEEDED, told_at=None)
"""Charges that have succeeded without their orders having been told."""
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


def pay_order(order_id: int, card: str, *, customer: User | None = None) -> PaymentAttempt:
    """Charge the order and return how the attempt stands; still open if the provider gave no answer."""
    attempt = open_payment(order_id, card, customer=customer)
    return run_attempt(attempt.provider_key)


def run_attempt(provider_key: UUID, *, tell: bool = True) -> PaymentAttempt:
    """Ask the provider and settle the attempt; it stays open if nothing certain was answered.

    Without ``tell`` the order is told later, by the settling task: for callers who are the order's own side.
    """
    try:
        return _run(provider_key, tell=tell)
    except ProviderUnavailable as error:
        logger.warning("attempt %s stays open: %s", provider_key, error)
        return PaymentAttempt.objects.get(provider_key=provider_key)


def run_due_attempts(order_id: int) -> None:
    """Run what is open for an order; call it after the transaction that opened it has committed."""
    for key in _unfinished_keys(Q(order_id=order_id)):
        run_attempt(key)


def open_attempts(older_than: timedelta | None = None) -> list[UUID]:
    """Return the keys of the attempts nobody is working on any more, oldest first: open ones, and untold charges."""
    age = timedelta(seconds=settings.PAYMENT_PROVIDER_TIMEOUT + 1) if older_than is None else older_than
    before = timezone.now() - age
    return _unfinished_keys(Q(state=State.OPEN, created_at__lte=before) | Q(UNTOLD, settled_at__lte=before))


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
            attempt = _run(key, tell=True)
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


def _unfinished_keys(which: Q) -> list[UUID]:
    attempts = PaymentAttempt.objects.filter(Q(state=State.OPEN) | UNTOLD, which)
    return list(attempts.order_by("pk").values_list("provider_key", flat=True))


def _run(provider_key: UUID, *, tell: bool) -> PaymentAttempt:
    """Ask, settle, tell the order, and follow up with the refund if that was closed meanwhile."""
    attempt = PaymentAttempt.objects.select_related("order").get(provider_key=provider_key)
    if attempt.state == State.OPEN:
        _settle(attempt, provider.ask(attempt))
        attempt.refresh_from_db(fields=("state", "provider_reference", "failure", "settled_at", "told_at"))
    if tell and attempt.kind == Kind.CHARGE and attempt.state == State.SUCCEEDED and attempt.told_at is None:
        _tell_order(attempt)
    return attempt


def _settle(attempt: PaymentAttempt, answer: Answer) -> None:
    """Commit the provider's answer, once: whoever comes second changes nothing."""
    PaymentAttempt.objects.filter(pk=attempt.pk, state=State.OPEN).update(
        state=State.SUCCEEDED if answer.succeeded else State.FAILED,
        provider_reference=answer.reference,
        failure=answer.failure,
        settled_at=timezone.now(),
    )


def _tell_order(attempt: PaymentAttempt) -> None:
    """Tell the order that its money is here, wherever orders are written; give the money back if it is closed.

    An order that cannot be told now is told by the settling task. One that is cancelled later finds the charge, and
    opens the refund itself.
    """
    order, at = attempt.order, attempt.settled_at or timezone.now()
    try:
        standing = mark_paid.once(f"paid-{attempt.provider_key}")(order.customer_id, order.pk, at.isoformat())
    except StranglerError as error:
        logger.warning("order %s has not been told of its payment %s: %s", order.pk, attempt.provider_key, error)
        return
    refund = None
    with transaction.atomic():
        if standing["status"] in CLOSED:
            refund = _open_refund(order)
        PaymentAttempt.objects.filter(pk=attempt.pk).update(told_at=timezone.now())
    if refund is not None:
        run_attempt(refund.provider_key)


def _open_refund(order: Order) -> PaymentAttempt | None:
    """Open the refund of a closed order, unless whoever closed it has done so."""
    try:
        with transaction.atomic():
            return ledger.open_refund_if_charged(order, timezone.now())
    except IntegrityError:  # one live refund per order: somebody else was faster
        return None
