"""Which database holds what, when both sides live in one process."""

from typing import Any

from tests.own import ALIAS

OWN = "own_store"
BOTH = frozenset({"strangler_sync", "strangler_idempotency", "strangler_events", "strangler_sagas"})


class OwnSideRouter:
    """Keep the own store's tables in ``own``; what both sides have is there as well, for those who ask for it."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        """Return where a model's rows are."""
        return ALIAS if model._meta.app_label == OWN else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Make each table where its rows are."""
        if db == ALIAS:
            return app_label == OWN or app_label in BOTH
        return app_label != OWN
