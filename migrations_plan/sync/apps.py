"""Wire sync into Django: find the declarations, register the checks, keep the triggers."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate
from django.utils.module_loading import autodiscover_modules

from migrations_plan.sync.capture import fence


class SyncConfig(AppConfig):
    name = "migrations_plan.sync"
    label = "strangler_sync"
    verbose_name = "Data sync"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import every app's strangler.py, where aggregates are declared; look after the triggers after migrations."""
        from migrations_plan.sync import checks, tasks  # the models these need exist only now
        from migrations_plan.sync.capture import upkeep

        fence.install()
        checks.register_all(tasks)
        autodiscover_modules("strangler")
        pre_migrate.connect(upkeep.before_migrate, dispatch_uid="strangler_sync.before_migrate")
        post_migrate.connect(upkeep.after_migrate, dispatch_uid="strangler_sync.after_migrate")
