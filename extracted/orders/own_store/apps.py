from importlib import import_module

from django.core.checks import Tags, register
from django.db import router
from django.db.models.signals import post_migrate

from extracted.orders.own_store import checks, ids
from extracted.orders.stores import StoreConfig


class OwnStoreConfig(StoreConfig):
    """Orders in tables of the service's own."""

    name = "extracted.orders.own_store"
    label = "own_store"
    default = True
    default_auto_field = "django.db.models.BigAutoField"
    store_class = "extracted.orders.own_store.store.OwnOrderStore"

    def ready(self) -> None:
        """Keep the ids in their range, keep out of the monolith's database; connect what tells other programs."""
        import_module("extracted.orders.integration")
        register(checks.check_database, Tags.database)
        post_migrate.connect(ids.after_migrate, sender=self)
        ids.announce(lambda: router.db_for_write(self.get_model("Order")))
