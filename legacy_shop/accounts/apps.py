from importlib import import_module

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "legacy_shop.accounts"
    label = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the receivers, once all models are there."""
        import_module("legacy_shop.accounts.receivers")
