"""Sum up sales by month and category.

In the monolith that is one query over orders, lines, products, customers, addresses and payments. Where the service
answers, its sold lines are put together with what the monolith knows: categories, staff, address books.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.db.models import BigIntegerField, Count, F, FilteredRelation, Q, QuerySet, Sum
from django.db.models.functions import Cast, Coalesce, Round, TruncMonth

from legacy_shop.accounts.models import Address
from legacy_shop.catalog.models import Product
from legacy_shop.orders.models import OrderLine
from legacy_shop.payments.models import PaymentAttempt
from router import seam

PAGE = 5000
"""Sold lines asked for at once."""
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


def _plain(rows: list[SalesRow]) -> list[dict[str, Any]]:
    return [asdict(row) for row in rows]


@seam.read("orders.sales", comparable=_plain)
def sales_by_month_and_category() -> list[SalesRow]:
    """Return the report, oldest month first; sorted here, since databases sort words in ways of their own."""
    rows = [
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
    return sorted(rows, key=lambda row: (row.month, row.category))


@sales_by_month_and_category.remote
def _from_sold_lines(service: seam.Client) -> list[SalesRow]:
    sales: dict[tuple[str, str], _Sales] = defaultdict(_Sales)
    categories, staff, cities = _categories(), _staff(), _cities()
    for line in _sold_lines(service):
        if line["customer"] not in staff:
            month = datetime.fromisoformat(line["paid_at"]).astimezone(UTC).strftime("%Y-%m")
            city = cities.get(line["address"], line["city"])
            sales[month, categories[line["product"]]].add(line, city)
    return [summed.row(month, category) for (month, category), summed in sorted(sales.items())]


@dataclass
class _Sales:
    """What one category sold in one month, while it is being added up."""

    orders: set[int] = field(default_factory=set)
    customers: set[int] = field(default_factory=set)
    cities: set[str] = field(default_factory=set)
    units: int = 0
    revenue: Decimal = ZERO
    refunds: Decimal = ZERO

    def add(self, line: dict[str, Any], city: str) -> None:
        amount = Decimal(line["amount"])
        self.orders.add(line["order"])
        self.customers.add(line["customer"])
        self.cities.add(city)
        self.units += line["quantity"]
        self.revenue += amount
        self.refunds += amount if line["refunded"] else 0

    def row(self, month: str, category: str) -> SalesRow:
        return SalesRow(
            month=month,
            category=category,
            orders=len(self.orders),
            units=self.units,
            customers=len(self.customers),
            cities=len(self.cities),
            revenue=self.revenue,
            refunds=self.refunds,
        )


def _sold_lines(service: seam.Client) -> Iterator[dict[str, Any]]:
    after: int | None = 0
    while after is not None:
        answer = service.get("/internal/orders/sold-lines/", {"after": after, "limit": PAGE})
        if not answer.ok:
            raise ValueError(f"The orders service answered {answer.status} for its sold lines.")
        page = answer.json()
        yield from page["results"]
        after = page["next"]


def _categories() -> dict[int, str]:
    return dict(Product.objects.values_list("pk", "category__name"))


def _staff() -> set[int]:
    return set(User.objects.filter(is_staff=True).values_list("pk", flat=True))


def _cities() -> dict[int, str]:
    return dict(Address.objects.values_list("pk", "city"))


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
    )
