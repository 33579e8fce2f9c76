"""Move money: attempt committed, provider called outside of any transaction, settlement committed, order told.

A process may die between any two of these. An attempt that stays open is asked about again by ``settle_open``, with the
same key, which gives the same answer and moves no money twice. A charge whose order was not told is told again, which
an order that knows it takes no notice of.
"""

import logging
import random
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from legacy_shop.errors import ShopError
from legacy_shop.orders.documents import fresh_document
from legacy_shop.orders.exceptions import UnknownOrder
from legacy_shop.orders.models import Order
from legacy_shop.orders.operations import mark_paid
from legacy_shop.payments import ledger, provider
from legacy_shop.payments.exceptions import ProviderUnavailable
from legacy_shop.payments.ledger import Kind, State
from legacy_shop.payments.models import PaymentAttempt
from legacy_shop.payments.operations import kept_by_service, open_charge, settle
from legacy_shop.payments.provider import Answer, Request
from router.exceptions import StranglerError
from router.fences import NotOwner

logger = logging.getLogger(__name__)

CLOSED = {str(Order.Status.CANCELLED.label), str(Order.Status.EXPIRED.label)}
UNTOLD = Q(kind=Kind.CHARGE, state=State.SUCCEEDED, told_at=None)
"""Charges that have succeeded without their orders having been told."""
SETTLED_ELSEWHERE = 20
"""So many orders the service is asked about in a pass; it settles what it has left open without being asked, too."""
GIVE_UP_AFTER = 3
"""So many attempts in a row that reach nobody end a pass; the next one starts over."""


@dataclass(frozen=True, kw_only=True)
class SettleReport:
    """What a pass over the open attempts did."""

    found: int
    succeeded: int
    failed: int
    still_open: int
    elsewhere: int = 0
    """Orders that the service writes and was asked to settle."""

    def __str__(self) -> str:
        outcomes = f"{self.succeeded} succeeded, {self.failed} failed, {self.still_open} still open"
        asked = f"; the service settles {self.elsewhere} orders" if self.elsewhere else ""
        return f"{self.found} open attempts: {outcomes}{asked}"


@dataclass(frozen=True, kw_only=True)
class Payment:
    """How the charge of an order stands."""

    state: State
    failure: str
    order: dict[str, Any]
    """The order's document."""


def pay_order(order_id: int, card: str, *, customer: User | None = None, key: str | None = None) -> Payment:
    """Charge an order, whoever writes it, and return how the charge stands; open if the provider gave no answer.

    ``key`` makes a second call give the first one's charge. Raises UnknownOrder or NotPayable.
    """
    owner = Order.objects.filter(pk=order_id).values_list("customer_id", flat=True).first()
    customer_id = owner if customer is None else customer.pk
    if customer_id is None:
        raise UnknownOrder
    opening = open_charge if key is None else open_charge.once(key)
    opened = opening(customer_id, order_id, card)
    found = PaymentAttempt.objects.filter(provider_key=UUID(opened["key"]))
    if opened["state"] != State.OPEN or kept_by_service(customer_id) or not found.exists():
        return Payment(state=State(opened["state"]), failure=opened["failure"], order=opened["order"])
    attempt = run_attempt(UUID(opened["key"]))
    return Payment(state=State(attempt.state), failure=attempt.failure, order=fresh_document(order_id))


def run_attempt(provider_key: UUID, *, tell: bool = True) -> PaymentAttempt:
    """Ask the provider and settle the attempt; it stays open if nothing certain was answered.

    Without ``tell`` the order is told later, by the settling task: for callers who are the order's own side.
    """
    try:
        # What opened the attempt is committed: a fence that is met from here on refuses nothing of the request.
        return Context().run(_run, provider_key, tell=tell)
    except (ProviderUnavailable, NotOwner) as error:
        logger.warning("attempt %s stays open: %s", provider_key, error)
        return PaymentAttempt.objects.get(provider_key=provider_key)


def run_due_attempts(order_id: int) -> None:
    """Run what is open for an order; call it after the transaction that opened it has committed.

    Of an order that the service writes there is nothing to run: it has had that run before it answered.
    """
    for key in _ours(_unfinished(Q(order_id=order_id))):
        run_attempt(key)


def ask_for_others(request: Request) -> Answer | None:
    """Ask the provider for a service that keeps the attempt in a ledger of its own; None if nothing is certain."""
    try:
        return provider.ask(request)
    except ProviderUnavailable as error:
        logger.warning("attempt %s of a service stays open: %s", request.key, error)
        return None


def open_attempts(older_than: timedelta | None = None) -> list[UUID]:
    """Return the keys of the attempts nobody is working on any more, oldest first: open ones, and untold charges."""
    return _ours(_left_open(older_than))


def settle_open(
    *,
    limit: int = 200,
    older_than: timedelta | None = None,
    progress: Callable[[PaymentAttempt | None], None] | None = None,
) -> SettleReport:
    """Ask the provider about attempts left open; by default those older than any request could still be working on.

    Of more than ``limit``, half are the oldest, and half are drawn by lot: what can never be settled must not keep out
    all the rest.
    """
    left = _left_open(older_than)
    elsewhere = _settle_elsewhere(left)
    keys = _some(_ours(left), limit)
    states: list[str] = []
    unreached = 0
    for key in keys:
        attempt = None
        try:
            attempt = _run(key, tell=True)
            unreached = 0
        except (ProviderUnavailable, NotOwner) as error:
            logger.warning("attempt %s is still open: %s", key, error)
            unreached = unreached + 1 if isinstance(error, ProviderUnavailable) and not error.reached else 0
        states.append(attempt.state if attempt else State.OPEN)
        if progress is not None:
            progress(attempt)
        if unreached == GIVE_UP_AFTER:
            logger.warning("the provider cannot be reached: %d attempts are left for later", len(keys) - len(states))
            break
    succeeded, failed = states.count(State.SUCCEEDED), states.count(State.FAILED)
    return SettleReport(
        found=len(keys),
        succeeded=succeeded,
        failed=failed,
        still_open=len(keys) - succeeded - failed,
        elsewhere=elsewhere,
    )


def _some(keys: list[UUID], limit: int) -> list[UUID]:
    if len(keys) <= limit:
        return keys
    oldest, others = keys[: limit // 2], keys[limit // 2 :]
    return [*oldest, *random.sample(others, limit - len(oldest))]


def _left_open(older_than: timedelta | None) -> list[PaymentAttempt]:
    age = timedelta(seconds=settings.PAYMENT_PROVIDER_TIMEOUT + 1) if older_than is None else older_than
    before = timezone.now() - age
    return _unfinished(Q(state=State.OPEN, created_at__lte=before) | Q(UNTOLD, settled_at__lte=before))


def _unfinished(which: Q) -> list[PaymentAttempt]:
    attempts = PaymentAttempt.objects.filter(Q(state=State.OPEN) | UNTOLD, which)
    return list(attempts.order_by("pk").select_related("order").only("provider_key", "order__customer_id"))


def _ours(attempts: Iterable[PaymentAttempt]) -> list[UUID]:
    """Return the keys of those whose orders the service does not write in tables of its own."""
    return [attempt.provider_key for attempt in attempts if not kept_by_service(attempt.order.customer_id)]


def _settle_elsewhere(attempts: Iterable[PaymentAttempt]) -> int:
    """Have the service settle what is open of its orders; return how many orders these are."""
    orders = {attempt.order_id: attempt.order.customer_id for attempt in attempts}
    theirs = [(customer, order) for order, customer in orders.items() if kept_by_service(customer)]
    for customer_id, order_id in theirs[:SETTLED_ELSEWHERE]:
        try:
            settle(customer_id, order_id)
        except (ShopError, StranglerError) as error:
            logger.warning("the service does not settle order %s now: %s", order_id, error)
    return len(theirs)


def _run(provider_key: UUID, *, tell: bool) -> PaymentAttempt:
    """Ask, settle, tell the order, and follow up with the refund if that was closed meanwhile."""
    attempt = PaymentAttempt.objects.select_related("order").get(provider_key=provider_key)
    if attempt.state == State.OPEN:
        _settle(attempt, provider.ask(provider.request_of(attempt)))
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
