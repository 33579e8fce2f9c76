from django.apps import AppConfig


class IdempotencyConfig(AppConfig):
    """Claims on idempotency keys, in the database that owns the data they protect."""

    name = "router.idempotency"
    label = "strangler_idempotency"
    verbose_name = "Idempotency keys"
    default_auto_field = "django.db.models.BigAutoField"
