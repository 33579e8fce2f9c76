from importlib import import_module

from django.core.checks import Tags, register

from extracted.orders.legacy_store.drift import check_mirror
from extracted.orders.stores import StoreConfig


class LegacyStoreConfig(StoreConfig):
    """Orders in the monolith's own tables."""

    name = "extracted.orders.legacy_store"
    label = "legacy_store"
    default = True
    default_auto_field = "django.db.models.BigAutoField"
    store_class = "extracted.orders.legacy_store.store.LegacyOrderStore"

    def ready(self) -> None:
        """Have `check --database` compare the models with the monolith's tables; connect what tells other programs."""
        import_module("extracted.orders.integration")
        register(check_mirror, Tags.database)
