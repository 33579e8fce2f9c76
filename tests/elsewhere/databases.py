"""Which database holds what: loans and the keys that guard them in ``library``, everything else in ``default``."""

from typing import Any

LIBRARY = frozenset({"lending", "strangler_idempotency"})


class LibraryRouter:
    """Keep the lending desk's tables, and the toolkit's keys with them, in a database of their own."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        """Return where a model's rows are."""
        return "library" if model._meta.app_label in LIBRARY else "default"

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Make each table where its rows are."""
        return (db == "library") == (app_label in LIBRARY)
