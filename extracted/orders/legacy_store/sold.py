"""What was sold, line by line, for those who add it up."""

from django.db.models import Exists, OuterRef

from extracted.orders.domain.order import AttemptKind, AttemptState
from extracted.orders.domain.store import SoldLine
from extracted.orders.legacy_store import models


def sold_lines(after: int, limit: int) -> tuple[SoldLine, ...]:
    """Return the lines of paid orders with ids above ``after``, lowest first."""
    refunds = models.PaymentAttempt.objects.filter(
        order=OuterRef("order"), kind=AttemptKind.REFUND.value, state=AttemptState.SUCCEEDED.value
    )
    rows = (
        models.OrderLine.objects.filter(pk__gt=after, order__paid_at__isnull=False)
        .annotate(refunded=Exists(refunds))
        .select_related("order")
        .order_by("pk")
    )
    return tuple(
        SoldLine(
            line=row.pk,
            order=row.order_id,
            customer=row.order.customer_id,
            paid_at=row.order.paid_at,
            product=row.product_id,
            quantity=row.quantity,
            amount=row.amount,
            address=row.order.shipping_address_id,
            city=row.order.ship_city,
            refunded=row.refunded,
        )
        for row in rows[:limit]
    )
