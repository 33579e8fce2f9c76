"""Sum up sales by month and category: one query over orders, lines, products, customers, addresses and payments."""

from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from typing import Any

from django.db.models import BigIntegerField, Count, F, FilteredRelation, Q, QuerySet, Sum
from django.db.models.functions import Cast, Coalesce, Round, TruncMonth

from legacy_shop.orders.models import OrderLine
from legacy_shop.payments.models import PaymentAttempt

ZERO = Decimal("0.00")
CENTS = Cast(Round(F("amount") * 100), BigIntegerField())
"""Whole cents add up exactly; SQLite would add decimals as floats."""


@dataclass(frozen=True, kw_only=True)
class SalesRow:
    """What one category sold in one month."""

    month: str
    category: str
    orders: int
    units: int
    customers: int
    cities: int
    revenue: Decimal
    """Of orders that were paid, whatever became of them later."""
    refunds: Decimal
    """The part of the revenue whose refund the provider has confirmed."""

    @property
    def net(self) -> Decimal:
        """Return what is left of the revenue."""
        return self.revenue - self.refunds


def sales_by_month_and_category() -> list[SalesRow]:
    """Return the report, oldest month first."""
    return [
        SalesRow(
            month=row["month"].strftime("%Y-%m"),
            category=row["category"],
            orders=row["orders"],
            units=row["units"],
            customers=row["customers"],
            cities=row["cities"],
            revenue=_dollars(row["revenue"]),
            refunds=_dollars(row["refunds"]),
        )
        for row in _query()
    ]


def _dollars(cents: int) -> Decimal:
    return (Decimal(cents) / 100).quantize(ZERO)


def _query() -> QuerySet[Any, Any]:
    """Join everything once; a refund joins at most once, since an order has one live refund at most."""
    refunded = Q(
        order__payment_attempts__kind=PaymentAttempt.Kind.REFUND,
        order__payment_attempts__state=PaymentAttempt.State.SUCCEEDED,
    )
    lines = OrderLine.objects.alias(refund=FilteredRelation("order__payment_attempts", condition=refunded))
    return (
        lines.filter(order__paid_at__isnull=False, order__customer__is_staff=False)
        .values(month=TruncMonth("order__paid_at", tzinfo=UTC), category=F("product__category__name"))
        .annotate(
            orders=Count("order", distinct=True),
            units=Sum("quantity"),
            customers=Count("order__customer", distinct=True),
            cities=Count(Coalesce("order__shipping_address__city", "order__ship_city"), distinct=True),
            revenue=Sum(CENTS),
            refunds=Sum(CENTS, filter=Q(refund__isnull=False), default=0),
        )
        .order_by("month", "category")
    )
