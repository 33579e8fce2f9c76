from django.apps import AppConfig
from django.core.checks import register

from router.idempotency.conf import check_settings


class IdempotencyConfig(AppConfig):
    """Claims on idempotency keys, in the database that owns the data they protect."""

    name = "router.idempotency"
    label = "strangler_idempotency"
    verbose_name = "Idempotency keys"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Have ``check`` look at the settings."""
        register(check_settings)
