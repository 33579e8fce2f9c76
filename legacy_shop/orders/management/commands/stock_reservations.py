"""Report reservations whose orders have not come to be, and have not been given up either."""

import json
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from legacy_shop.catalog.models import StockReservation
from legacy_shop.orders.reservations import unconfirmed

OVERDUE = 60.0
"""Seconds in which a service that lives has ended its sagas."""


class Command(BaseCommand):
    help = "List stock that is reserved for orders of a service. Its sagas end reservations; nothing here does."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add --older-than and --json."""
        parser.add_argument(
            "--older-than", type=float, default=OVERDUE, metavar="SECONDS", help=f"how old (default {OVERDUE:g})"
        )
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print them; exit 1 if there are any, since then somebody has to look at the service's sagas."""
        found = unconfirmed(timedelta(seconds=options["older_than"]))
        if options["json"]:
            self.stdout.write(json.dumps([_document(row) for row in found]))
        for row in [] if options["json"] else found:
            pieces = sum(quantity for _, quantity in row.lines)
            self.stdout.write(
                f"{row.saga}  {row.made_at:%Y-%m-%d %H:%M:%S}  customer {row.customer_id}  {pieces} pieces"
            )
        if found:
            hint = "`sagas show` at the orders service says what became of each."
            raise CommandError(f"{len(found)} reservations are not confirmed. {hint}", returncode=1)
        if not options["json"]:
            self.stdout.write("No reservation is overdue.")


def _document(row: StockReservation) -> dict[str, Any]:
    return {
        "saga": str(row.saga),
        "customer": row.customer_id,
        "from_cart": row.from_cart,
        "lines": row.lines,
        "made_at": row.made_at.isoformat(),
    }
