"""The report that joins everything: exact to the cent, one query, the same on every database."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from legacy_shop.backoffice.report import sales_by_month_and_category
from legacy_shop.catalog.models import Product
from legacy_shop.orders.models import Order
from legacy_shop.orders.services import LineRequest, place_order
from legacy_shop.payments.models import PaymentAttempt
from tests.legacy_shop.samples import SHIP_TO, make_customer, make_product

pytestmark = pytest.mark.django_db
JANUARY = datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def book() -> Product:
    """Return a product of one shelf."""
    return make_product("0.10", stock=1000)


@pytest.fixture
def kite() -> Product:
    """Return a product of another shelf."""
    product = make_product("19.99", stock=1000, category="toys")
    product.category.name = "Toys"
    product.category.save()
    return product


def sell(lines: dict[Product, int], paid_at: datetime | None, customer: User | None = None) -> Order:
    """Place an order and mark it as paid at a moment."""
    order = place_order(
        customer=customer or make_customer(),
        lines=[LineRequest(product.pk, quantity) for product, quantity in lines.items()],
        ship_to=SHIP_TO,
    )
    Order.objects.filter(pk=order.pk).update(paid_at=paid_at, status=Order.Status.PAID if paid_at else 10)
    return order


def attempt(order: Order, kind: str, state: str) -> None:
    PaymentAttempt.objects.create(
        order=order, kind=kind, state=state, amount=order.total, created_at=timezone.now(), card="tok_visa"
    )


def test_months_and_categories(book: Product, kite: Product) -> None:
    """An order of two shelves counts in both; months end at midnight UTC."""
    ada = make_customer()
    sell({book: 3, kite: 1}, JANUARY, ada)
    sell({book: 4}, JANUARY, ada)
    sell({book: 1}, JANUARY)
    sell({kite: 2}, FEBRUARY)
    rows = [
        (row.month, row.category, row.orders, row.units, row.customers, row.revenue, row.refunds)
        for row in sales_by_month_and_category()
    ]
    assert rows == [
        ("2026-01", "Books", 3, 8, 2, Decimal("0.80"), Decimal("0.00")),
        ("2026-01", "Toys", 1, 1, 1, Decimal("19.99"), Decimal("0.00")),
        ("2026-02", "Toys", 1, 2, 1, Decimal("39.98"), Decimal("0.00")),
    ]


def test_unpaid_orders_are_no_sales(book: Product) -> None:
    """An order that nobody paid is not revenue."""
    sell({book: 3}, None)
    assert sales_by_month_and_category() == []


def test_staff_orders_are_left_out(book: Product) -> None:
    """Trying the shop is no business."""
    sell({book: 3}, JANUARY, make_customer(is_staff=True))
    assert sales_by_month_and_category() == []


@pytest.mark.parametrize(("state", "refunded"), [("succeeded", "0.30"), ("open", "0.00"), ("failed", "0.00")])
def test_a_refund_counts_once_the_provider_made_it(book: Product, state: str, refunded: str) -> None:
    """And several attempts for one order do not multiply its lines."""
    order = sell({book: 3}, JANUARY)
    attempt(order, "charge", "failed")
    attempt(order, "charge", "failed")
    attempt(order, "charge", "succeeded")
    attempt(order, "refund", "failed")
    attempt(order, "refund", state)
    (row,) = sales_by_month_and_category()
    assert (row.units, row.revenue, row.refunds) == (3, Decimal("0.30"), Decimal(refunded))
    assert row.net == Decimal("0.30") - Decimal(refunded)


def test_cents_add_up_exactly(book: Product) -> None:
    """Ten times ten cents is a dollar, on a database that adds floats too."""
    for _ in range(10):
        sell({book: 1}, JANUARY)
    (row,) = sales_by_month_and_category()
    assert str(row.revenue) == "1.00"


def test_one_query(book: Product, kite: Product, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """It joins in the database, not in Python."""
    sell({book: 1, kite: 1}, JANUARY)
    with django_assert_num_queries(1):
        assert len(sales_by_month_and_category()) == 2


def report(*options: str) -> str:
    """Run the command and return what it printed."""
    out = StringIO()
    call_command("sales_report", *options, stdout=out)
    return out.getvalue()


def test_json(kite: Product) -> None:
    """Money is text, so that no reader rounds it."""
    sell({kite: 100}, JANUARY)
    assert json.loads(report("--json")) == [
        {
            "month": "2026-01",
            "category": "Toys",
            "orders": 1,
            "units": 100,
            "customers": 1,
            "cities": 1,
            "revenue": "1999.00",
            "refunds": "0.00",
            "net": "1999.00",
        }
    ]


def test_table(book: Product, kite: Product) -> None:
    """Headings, aligned figures, and totals of what may be added up."""
    sell({kite: 100, book: 2}, JANUARY)
    head, rule, *rows, _, total = report().splitlines()
    assert head.split() == ["month", "category", "orders", "units", "customers", "cities", "revenue", "refunds", "net"]
    assert set(rule) == {"-", " "}
    assert [row.split()[:2] for row in rows] == [["2026-01", "Books"], ["2026-01", "Toys"]]
    assert total.split() == ["total", "102", "1,999.20", "0.00", "1,999.20"]
    assert len({len(line) for line in (head, rule, *rows, total)}) == 1


def test_nothing_sold() -> None:
    """An empty shop says so, and gives machines an empty list."""
    assert report() == "Nothing has been sold yet.\n"
    assert json.loads(report("--json")) == []
