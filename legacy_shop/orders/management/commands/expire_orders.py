"""Expire unpaid orders and give their stock back."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from legacy_shop.orders.expiry import expirable
from legacy_shop.orders.nightly import expire_unpaid


class Command(BaseCommand):
    help = "Expire pending orders that nobody pays for, and give their stock back. Runs every night."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add --hours and --dry-run."""
        parser.add_argument("--hours", type=float, default=24.0, help="expire what is older (default 24)")
        parser.add_argument("--dry-run", action="store_true", help="say what would be expired and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what was expired."""
        if options["hours"] < 0:
            raise CommandError(f"--hours {options['hours']:g} is negative. Give the age in hours, such as 24.")
        older_than = timedelta(hours=options["hours"])
        found = expirable(older_than)
        if options["dry_run"]:
            self.stdout.write(f"would expire {found.orders} orders and give back {found.pieces} pieces (dry run)")
            return
        with tqdm(total=found.orders, desc="expiring", unit=" orders", file=self.stderr, disable=None) as bar:
            report = expire_unpaid(older_than, progress=lambda done: bar.update(done.orders))
        expired = report.expired
        self.stdout.write(f"expired {expired.orders} orders and gave back {expired.pieces} pieces")
        if report.left:
            raise CommandError(f"{report.left} orders could not be expired now; the log says why. Run it again.")
