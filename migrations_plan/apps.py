from django.apps import AppConfig
from django.core import checks
from django.db.models.signals import post_migrate


class MigrationsPlanConfig(AppConfig):
    """Change time: plans, the state of every service, the commands and the admin pages."""

    name = "migrations_plan"
    verbose_name = "Phases"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from migrations_plan import append_only, plan_registry
        from migrations_plan.checks import check_history_trigger, check_plans

        plan_registry.autodiscover()
        post_migrate.connect(append_only.after_migrate, sender=self)
        checks.register(check_plans)
        checks.register(check_history_trigger, checks.Tags.database)
