"""Fill an empty shop with invented products, customers and orders."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from legacy_shop.backoffice.arguments import natural
from legacy_shop.backoffice.demo_customers import DEMO_PASSWORD
from legacy_shop.backoffice.moved import OrdersHaveMoved
from legacy_shop.backoffice.seed_plan import Size
from legacy_shop.backoffice.seeding import ADMIN, ADMIN_PASSWORD, SeedConflict, Seeded, seed


class Command(BaseCommand):
    """Fill an empty shop, the same way each time."""

    help = (
        "Fill the shop with invented products, customers and orders. The same arguments make the same shop, and "
        "running twice changes nothing. Everybody's password is printed: this is for demonstrations only."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--products", type=natural, default=200, metavar="N")
        parser.add_argument("--customers", type=natural, default=300, metavar="N")
        parser.add_argument("--orders", type=natural, default=500, metavar="N", help="past, closed orders")
        parser.add_argument("--seed", type=natural, default=7, metavar="N")

    def handle(self, *args: Any, **options: Any) -> None:
        """Seed, and say what was made."""
        size = Size(**{name: options[name] for name in ("products", "customers", "orders", "seed")})
        if size.orders and not (size.products and size.customers):
            raise CommandError("Orders need at least one product and one customer: raise them, or pass --orders 0.")
        rows = size.products + size.customers + size.orders
        quiet = True if options["verbosity"] == 0 else None  # None: show the bar on a terminal only
        try:
            with tqdm(total=rows, desc="seeding", unit=" rows", disable=quiet) as bar:
                made = seed(size, progress=bar.update)
        except (OrdersHaveMoved, SeedConflict) as error:
            raise CommandError(str(error)) from error
        self.report(made)

    def report(self, made: Seeded) -> None:
        """Print what the run made and how to log in."""
        if not made.anything:
            self.stdout.write("This shop is seeded already with these arguments: nothing changed.")
            return
        self.stdout.write(
            self.style.SUCCESS(
                f"Made {made.products} products, {made.customers} customers ({made.carts} with a cart) "
                f"and {made.orders} orders."
            )
        )
        if made.customers:
            self.stdout.write(f"Customers log in as customer00001 and so on, password {DEMO_PASSWORD}.")
        if made.admin:
            self.stdout.write(f"The administrator logs in as {ADMIN}, password {ADMIN_PASSWORD}.")
