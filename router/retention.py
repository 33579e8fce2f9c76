"""Remove what the router recorded and nobody needs any more."""

from datetime import UTC, datetime, timedelta

from django.db import models

from router.models.shadow import ShadowFieldCount
from router.models.traffic import BreakerEvent, ShadowMismatch, TrafficCount

BATCH = 1_000
RECORDS: tuple[type[models.Model], ...] = (TrafficCount, BreakerEvent, ShadowFieldCount, ShadowMismatch)


def purge(days: float) -> dict[str, int]:
    """Delete records older than ``days``, in small transactions; return how many of each went."""
    before = datetime.now(UTC) - timedelta(days=days)
    return {model._meta.verbose_name_plural.__str__(): _purge(model, before) for model in RECORDS}


def _purge(model: type[models.Model], before: datetime) -> int:
    old = model._default_manager.filter(at__lt=before).order_by("at", "pk")
    deleted = 0
    while keys := list(old.values_list("pk", flat=True)[:BATCH]):
        deleted += model._default_manager.filter(pk__in=keys).delete()[0]
    return deleted
