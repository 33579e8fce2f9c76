"""The own store's models as an app of the shop's test project.

The real app announces its side of the aggregate and the service's event types, which the shop announces for itself.
"""

from django.apps import AppConfig
from django.db.models.signals import post_migrate

from extracted.orders.own_store import ids
from tests.own import ALIAS


class OwnSideConfig(AppConfig):
    name = "tests.own"
    label = "own_store"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Keep the ids in their range, as the real app does."""
        post_migrate.connect(ids.after_migrate, sender=self)
        ids.announce(lambda: ALIAS)
