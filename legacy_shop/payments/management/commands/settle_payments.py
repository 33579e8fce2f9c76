"""Settle the payment attempts that were left open."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand
from tqdm import tqdm

from legacy_shop.payments.services import open_attempts, settle_open


class Command(BaseCommand):
    help = "Ask the payment provider about attempts that were left open, and settle them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add --limit, --older-than and --dry-run."""
        parser.add_argument("--limit", type=int, default=200, help="settle at most so many (default 200)")
        parser.add_argument(
            "--older-than",
            type=float,
            metavar="SECONDS",
            help="only attempts at least so old (default: the provider timeout and a second)",
        )
        parser.add_argument("--dry-run", action="store_true", help="say what is open and ask nobody")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what was settled."""
        older_than = None if options["older_than"] is None else timedelta(seconds=options["older_than"])
        waiting = open_attempts(older_than)[: options["limit"]]
        if options["dry_run"]:
            for key in waiting:
                self.stdout.write(f"would ask about attempt {key}")
            self.stdout.write(f"{len(waiting)} open attempts, none asked about (dry run)")
            return
        with tqdm(total=len(waiting), desc="settling", unit=" attempts", file=self.stderr, disable=None) as bar:
            report = settle_open(limit=options["limit"], older_than=older_than, progress=lambda attempt: bar.update())
        self.stdout.write(str(report))
