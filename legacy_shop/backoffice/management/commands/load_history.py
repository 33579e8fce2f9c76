"""Load a purchase history in the CDNOW format."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from legacy_shop.backoffice import history_loader
from legacy_shop.backoffice.arguments import positive
from legacy_shop.backoffice.history import BadLine, HistoryError, Purchase, read
from legacy_shop.backoffice.moved import OrdersHaveMoved, refuse_if_moved


class Command(BaseCommand):
    """Load a purchase history, all of it or nothing."""

    help = (
        "Load a purchase history in the CDNOW format (text, or the same gzipped): customer id, date as YYYYMMDD, "
        "number of CDs, dollars. Each line becomes a completed order. Everything is loaded in one transaction, so on "
        "SQLite other writers wait for the seconds this takes."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument(
            "--on-error",
            choices=("skip", "fatal"),
            default="fatal",
            help="leave bad lines out, or load nothing if there is one (default: fatal)",
        )
        parser.add_argument("--limit", type=positive, metavar="N", help="load the first N purchases only")
        parser.add_argument("--dry-run", action="store_true", help="check the file and load nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Read the whole file, then load what is good in it."""
        quiet = True if options["verbosity"] == 0 else None  # None: show the bar on a terminal only
        purchases, bad = self.read_file(options["file"], options["limit"], quiet)
        counts = f"{len(purchases)} purchases, {len(bad)} bad lines"
        if bad and options["on_error"] == "fatal":
            raise CommandError(
                f"{counts}: nothing was loaded. Correct the file, or leave them out with --on-error skip."
            )
        if not purchases:
            raise CommandError(f"{options['file']}: no purchase in it ({counts}): nothing was loaded.")
        try:
            if options["dry_run"]:
                refuse_if_moved()
                history_loader.refuse_if_loaded()
                self.stdout.write(f"{counts}. Dry run: nothing was loaded.")
                return
            with tqdm(total=len(purchases), desc="loading", unit=" lines", disable=quiet) as bar:
                loaded = history_loader.load(purchases, progress=bar.update)
        except (history_loader.AlreadyLoaded, OrdersHaveMoved) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            self.style.SUCCESS(f"Loaded {loaded.orders} orders of {loaded.customers} customers, ${loaded.dollars:,}.")
            + f" {counts}."
        )

    def read_file(self, path: Path, limit: int | None, quiet: bool | None) -> tuple[list[Purchase], list[BadLine]]:
        """Return good and bad lines, each bad one reported as file:line: reason."""
        purchases: list[Purchase] = []
        bad: list[BadLine] = []
        try:
            for item in tqdm(read(path), desc="reading", unit=" lines", disable=quiet):
                if isinstance(item, Purchase):
                    purchases.append(item)
                elif item is not None:
                    bad.append(item)
                    self.stderr.write(f"{path}:{item.line}: {item.reason}")
                if len(purchases) == limit:
                    break
        except HistoryError as error:
            raise CommandError(f"{error} Nothing was loaded.") from error
        return purchases, bad
