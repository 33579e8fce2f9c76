from extracted.orders.stores import StoreConfig


class LegacyStoreConfig(StoreConfig):
    """Orders in the monolith's own tables."""

    name = "extracted.orders.legacy_store"
    label = "legacy_store"
    default = True
    default_auto_field = "django.db.models.BigAutoField"
    store_class = "extracted.orders.legacy_store.store.LegacyOrderStore"
