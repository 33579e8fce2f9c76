"""``manage.py idempotency purge``: forget old idempotency keys."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from router.idempotency.conf import conf
from router.idempotency.retention import purge


class Command(BaseCommand):
    """Look after the table of idempotency keys."""

    help = "Forget idempotency keys that are older than clients retry."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the sub-commands."""
        actions = parser.add_subparsers(dest="action", required=True)
        purging = actions.add_parser("purge", help="delete old keys")
        purging.add_argument("--older-than", type=_days, default=None, metavar="DAYS")
        purging.add_argument("--dry-run", action="store_true", help="only say how many keys would go")

    def handle(self, *args: Any, **options: Any) -> None:
        """Purge, and say how many keys went."""
        days = conf().keep_days if options["older_than"] is None else options["older_than"]
        count = purge(keep_days=days, dry_run=options["dry_run"])
        verb = "would be forgotten" if options["dry_run"] else "forgotten"
        self.stdout.write(f"{count} idempotency keys older than {days} days {verb}.")


def _days(text: str) -> int:
    days = int(text)
    if days < 1:
        raise ValueError(f"{days} days is too short: clients may still be retrying. Use 1 or more.")
    return days
