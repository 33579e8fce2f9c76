"""Keep this service's hands off a schema that belongs to the monolith."""

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate


class Command(migrate.Command):
    """Refuse to migrate: the shared store's tables, and their history, are the monolith's."""

    help = "Refuses: the shared store is migrated by the monolith."

    def handle(self, *args: Any, **options: Any) -> None:
        """Say who migrates these tables."""
        raise CommandError(
            "ORDERS_STORE=shared: these tables belong to the monolith and this service never changes their schema. "
            "Run `python manage.py migrate` there."
        )
