from importlib import import_module

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    name = "legacy_shop.orders"
    label = "orders"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the receivers, once all models are there."""
        import_module("legacy_shop.orders.receivers")
