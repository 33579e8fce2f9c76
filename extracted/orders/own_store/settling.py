"""Settle the payment attempts of our own ledger: the provider is asked through the monolith, we write down its answer.

A process may die between any two of these. An attempt that stays open is asked about again with the same key, which
gives the same answer and moves no money twice. Its settlement, the order's being paid, and the refund of an order that
was closed meanwhile are one transaction, under the order's lock; so a late charge is given back once.
"""

import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from extracted.orders.domain.events import OrderPaid
from extracted.orders.domain.order import CLOSED, AttemptKind, AttemptState, Status
from extracted.orders.own_store import models
from extracted.orders.own_store.checkout import open_attempt
from extracted.orders.own_store.documents import to_order
from extracted.orders.payments import Decided, after_the_commit, run_ours
from migrations_plan.sync import aggregates, ownership
from migrations_plan.sync.buckets import bucket
from migrations_plan.sync.events import bus
from migrations_plan.sync.messages import State
from router.sagas import points

ROUNDS = 2
"""A charge, and the refund that it may lead to."""
OPEN = Q(state=AttemptState.OPEN.value)
UNTOLD = Q(direction=AttemptKind.CHARGE.value, state=AttemptState.SUCCEEDED.value, told_at=None)
"""Charges that have succeeded and whose orders were not told: the monolith's, from before it handed them over."""


def settle_order(order_id: int) -> int:
    """Settle what is open of an order, as far as the provider can be asked now; return how many attempts were."""
    settled = 0
    for _ in range(ROUNDS):
        found = [after_the_commit(partial(_settle, attempt)) for attempt in _of_order(order_id)]
        settled += sum(found)
        if not any(found):
            break
    return settled


def open_attempts(order_id: int) -> int:
    """Return how many attempts of the order have no certain end yet."""
    return models.Attempt.objects.filter(OPEN, order_id=order_id).count()


def left_open(limit: int) -> list[int]:
    """Return orders with attempts that nobody works on any more, oldest first, in the buckets that we own.

    Where there are too many, half of them are drawn by lot: what can never be settled must not keep out all the rest.
    """
    before = timezone.now() - timedelta(seconds=settings.SHOP_INTERNAL_TIMEOUT + 1)
    rows = models.Attempt.objects.filter(Q(OPEN, opened_at__lte=before) | Q(UNTOLD, settled_at__lte=before))
    orders = dict(rows.order_by("-pk").values_list("order_id", "order__buyer"))
    ours = _owned(set(orders.values()))
    return some([order for order, buyer in sorted(orders.items()) if buyer in ours], limit)


def some(found: list[int], limit: int) -> list[int]:
    """Return as many as the limit says, in their order: the first ones, and as many by lot."""
    first, others = found[: limit // 2], found[limit // 2 :]
    return found if len(found) <= limit else [*first, *sorted(random.sample(others, limit - len(first)))]


def _owned(buyers: Iterable[int]) -> set[int]:
    aggregate = aggregates.find("orders")
    owned = {each.bucket for each in ownership.states(aggregate) if each.state is State.OWNER}
    return {buyer for buyer in buyers if bucket(aggregate.name, buyer) in owned}


def _of_order(order_id: int) -> list[models.Attempt]:
    return list(models.Attempt.objects.filter(OPEN | UNTOLD, order_id=order_id).select_related("order"))


def _settle(attempt: models.Attempt) -> bool:
    decided = None
    if attempt.state == AttemptState.OPEN.value:
        decided = run_ours(attempt.provider_key, _asked(attempt))
        if decided is None:
            return False
    points.passed("provider asked")
    with transaction.atomic():
        done = _write_down(attempt, decided, timezone.now())
    points.passed("settled")
    return done


def _write_down(attempt: models.Attempt, decided: Decided | None, now: datetime) -> bool:
    """Commit the provider's answer, once: whoever comes second changes nothing."""
    list(models.Order.objects.select_for_update().filter(pk=attempt.order_id).values_list("pk"))
    if decided is not None:
        row = models.Attempt.objects.filter(OPEN, pk=attempt.pk)
        if not row.update(
            state=decided.state.value,
            provider_reference=decided.reference,
            failure=decided.failure,
            settled_at=now,
        ):
            return False
    if models.Attempt.objects.filter(UNTOLD, pk=attempt.pk).update(told_at=now):
        _tell_order(attempt, now)
    return True


def _tell_order(attempt: models.Attempt, now: datetime) -> None:
    """Mark the order paid if it waits for money; give the money back if it is closed."""
    order = to_order(models.Order.objects.prefetch_related("items", "attempts").get(pk=attempt.order_id))
    if order.status is Status.PENDING:
        paid = order.paid(attempt.settled_at or now)
        models.Order.objects.filter(pk=order.id).update(state=paid.status.value, paid_at=paid.paid_at)
        bus.emit(OrderPaid(paid))
    charge = order.refundable_charge
    if order.status in CLOSED and charge is not None:
        open_attempt(order.id, AttemptKind.REFUND, charge.amount, charge.card, now)


def _asked(attempt: models.Attempt) -> dict[str, Any]:
    """Return what the provider is asked, the same whichever side asks it."""
    asked: dict[str, Any] = {
        "kind": attempt.direction,
        "amount_minor": attempt.amount_minor,
        "currency": attempt.currency,
        "card": attempt.card_token,
        "reference": attempt.order.reference,
    }
    if attempt.direction == AttemptKind.REFUND.value:
        charged = models.Attempt.objects.filter(
            order_id=attempt.order_id, direction=AttemptKind.CHARGE.value, state=AttemptState.SUCCEEDED.value
        ).first()
        asked["charge"] = None if charged is None else str(charged.provider_key)
    return asked
