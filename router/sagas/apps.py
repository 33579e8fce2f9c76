from django.apps import AppConfig
from django.core.checks import register

from router.sagas import checks


class SagasConfig(AppConfig):
    """A durable log of sagas, in the database whose rows their points of no return are committed with."""

    name = "router.sagas"
    label = "strangler_sagas"
    verbose_name = "Sagas"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Have ``check`` look at settings and declared types."""
        register(checks.check_settings)
        register(checks.check_types)
