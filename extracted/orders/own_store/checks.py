"""Find out before any harm is done that the own store's database is the monolith's."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error
from django.db import connections

SHOPS_TABLE = "orders_order"


def check_database(
    app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Refuse the monolith's database: both sides' versions would be counted in one table. `migrate` runs this, too."""
    return [
        Error(
            f"The database {alias!r} of the service's own store holds {SHOPS_TABLE}: it is the monolith's.",
            hint="Point ORDERS_OWN_DATABASE_URL at a database of its own.",
            id="own_store.E001",
        )
        for alias in databases or ()
        if SHOPS_TABLE in connections[alias].introspection.table_names()
    ]
