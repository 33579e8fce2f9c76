"""``manage.py strangler_purge``: bound what the router keeps."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from router.retention import purge


class Command(BaseCommand):
    help = (
        "Delete traffic counts, breaker events, counts of compared fields and shadow mismatches older than some days."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare ``--days``."""
        parser.add_argument("--days", type=float, default=14.0, help="keep this many days (default: 14)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Delete, and say how much."""
        if options["days"] < 0:
            raise CommandError(f"--days {options['days']} is below zero; use 0 to delete everything.", returncode=2)
        for name, count in purge(options["days"]).items():
            self.stdout.write(f"{count} {name} deleted")
