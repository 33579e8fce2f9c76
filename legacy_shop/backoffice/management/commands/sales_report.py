"""Print sales by month and category."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from legacy_shop.backoffice.report import ZERO, SalesRow, sales_by_month_and_category

HEADINGS = ("month", "category", "orders", "units", "customers", "cities", "revenue", "refunds", "net")
LEFT_ALIGNED = 2


class Command(BaseCommand):
    """Print what was sold."""

    help = "Print sales by month and category: orders, units, distinct customers and cities, revenue, refunds, net."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="print JSON for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the report in the form asked for."""
        rows = sales_by_month_and_category()
        if options["json"]:
            self.stdout.write(json.dumps([_plain(row) for row in rows], indent=2))
        elif not rows:
            self.stdout.write("Nothing has been sold yet.")
        else:
            self.stdout.write("\n".join(_table(rows)))


def _plain(row: SalesRow) -> dict[str, Any]:
    values = {**asdict(row), "net": row.net}
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in values.items()}


def _table(rows: Sequence[SalesRow]) -> list[str]:
    """Align the columns, and sum up those that may be summed: a customer can be in several rows, an order too."""
    cells = [HEADINGS, *(_cells(row) for row in rows)]
    units, revenue, refunds = sum(row.units for row in rows), _sum(rows, "revenue"), _sum(rows, "refunds")
    total = ("total", "", "", str(units), "", "", f"{revenue:,}", f"{refunds:,}", f"{revenue - refunds:,}")
    widths = [max(map(len, column)) for column in zip(*cells, total, strict=True)]
    rule = "  ".join("-" * width for width in widths)
    lines = [_aligned(row, widths) for row in cells]
    return [lines[0], rule, *lines[1:], rule, _aligned(total, widths)]


def _cells(row: SalesRow) -> tuple[str, ...]:
    counts = (str(row.orders), str(row.units), str(row.customers), str(row.cities))
    return (row.month, row.category, *counts, f"{row.revenue:,}", f"{row.refunds:,}", f"{row.net:,}")


def _sum(rows: Sequence[SalesRow], name: str) -> Decimal:
    return sum((getattr(row, name) for row in rows), ZERO)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    pairs = enumerate(zip(cells, widths, strict=True))
    return "  ".join(
        cell.ljust(width) if index < LEFT_ALIGNED else cell.rjust(width) for index, (cell, width) in pairs
    ).rstrip()
