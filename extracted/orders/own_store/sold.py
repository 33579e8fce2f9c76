"""What was sold, line by line, for those who add it up."""

from django.db.models import Exists, OuterRef

from extracted.orders.domain.money import Money
from extracted.orders.domain.order import AttemptKind, AttemptState
from extracted.orders.domain.store import SoldLine
from extracted.orders.own_store import models


def sold_lines(after: int, limit: int) -> tuple[SoldLine, ...]:
    """Return the lines of paid orders with ids above ``after``, lowest first."""
    refunds = models.Attempt.objects.filter(
        order=OuterRef("order"), direction=AttemptKind.REFUND.value, state=AttemptState.SUCCEEDED.value
    )
    rows = (
        models.Item.objects.filter(pk__gt=after, order__paid_at__isnull=False)
        .annotate(refunded=Exists(refunds))
        .select_related("order")
        .order_by("pk")
    )
    return tuple(
        SoldLine(
            line=row.pk,
            order=row.order_id,
            customer=row.order.buyer,
            paid_at=row.order.paid_at,
            product=row.product,
            quantity=row.pieces,
            amount=Money.of_minor(row.amount_minor, row.order.currency).amount,
            address=row.order.address_entry,
            city=row.order.town,
            refunded=row.refunded,
        )
        for row in rows[:limit]
    )
