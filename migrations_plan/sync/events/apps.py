"""Wire events into Django: find the declarations, register the checks."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class EventsConfig(AppConfig):
    name = "migrations_plan.sync.events"
    label = "strangler_events"
    verbose_name = "Integration events"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import every app's strangler.py, where types and handlers are declared, and register the system checks."""
        from migrations_plan.sync.events import checks, tasks  # the models these need exist only now

        checks.register_all(tasks)
        autodiscover_modules("strangler")
