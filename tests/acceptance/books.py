"""Compare what customers were told with the shop's tables, and those with the payment provider's ledger."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import Sum

from legacy_shop.catalog.models import Stock
from legacy_shop.orders.models import Order, OrderLine
from legacy_shop.payments.models import PaymentAttempt
from tests.acceptance.shoppers import Memory

CANCELLED, PAID, PENDING = Order.Status.CANCELLED, Order.Status.PAID, Order.Status.PENDING
SUCCEEDED = PaymentAttempt.State.SUCCEEDED


def check_orders(memories: Mapping[str, Memory]) -> None:
    """Check that no order exists twice or unasked, and each confirmed one with the contents that were confirmed."""
    notes = Counter(Order.objects.values_list("note", flat=True))
    assert set(notes) <= set(memories)
    assert not {note: count for note, count in notes.items() if count > 1}
    orders = {order.note: order for order in Order.objects.prefetch_related("lines", "payment_attempts")}
    for memory in memories.values():
        if memory.pk is None:
            continue
        order = orders[memory.note]
        (line,) = order.lines.all()
        assert (order.pk, line.quantity) == (memory.pk, memory.quantity), memory
        assert order.total == line.amount == line.unit_price * line.quantity
        assert order.ship_street in memory.streets, memory
        assert memory.cancelled is None or (order.status == CANCELLED) == memory.cancelled, memory
        cards = [attempt.card for attempt in order.payment_attempts.all() if attempt.kind == "charge"]
        assert cards == ([memory.card] if memory.card else []), memory


def check_stock(delivered: int) -> None:
    """Check that every piece is on the shelf or in one order that stands."""
    ordered = OrderLine.objects.exclude(order__status=CANCELLED).aggregate(pieces=Sum("quantity"))["pieces"] or 0
    assert Stock.objects.get().on_hand + ordered == delivered


def check_money(charges: Sequence[Mapping[str, Any]], refunds: Sequence[Mapping[str, Any]]) -> None:
    """Check that the provider booked what the shop's attempts say, and that orders are paid accordingly."""
    assert not PaymentAttempt.objects.filter(state="open").exists()
    for kind, rows in (("charge", charges), ("refund", refunds)):
        booked = sorted((row["key"], row["reference"], row["status"], row["amount_minor"]) for row in rows)
        attempts = PaymentAttempt.objects.filter(kind=kind).select_related("order")
        assert booked == sorted(
            (str(attempt.provider_key), attempt.order.number, attempt.state, int(attempt.amount * 100))
            for attempt in attempts
        )
    for order in Order.objects.prefetch_related("payment_attempts"):
        moved = sorted(attempt.kind for attempt in order.payment_attempts.all() if attempt.state == SUCCEEDED)
        if order.status == CANCELLED:
            assert moved in ([], ["charge", "refund"]), order
        else:
            assert (order.status, moved) in ((PAID, ["charge"]), (PENDING, [])), order
