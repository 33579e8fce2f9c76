"""Keep this service from emptying tables that belong to the monolith."""

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import flush


class Command(flush.Command):
    """Refuse to flush: the shared store's tables are the monolith's."""

    help = "Refuses: the shared store belongs to the monolith."

    def handle(self, **options: Any) -> None:
        """Say whose tables these are."""
        raise CommandError(
            "ORDERS_STORE=shared: these tables belong to the monolith and this service never empties them."
        )
