"""Forget old idempotency keys, so that the table does not grow for ever."""

from datetime import timedelta

from django.utils import timezone

from router.idempotency.conf import conf
from router.idempotency.models import IdempotencyKey

CHUNK = 1000


def purge(*, keep_days: int | None = None, dry_run: bool = False) -> int:
    """Delete keys made more than ``keep_days`` ago, a chunk per transaction; return how many.

    An unfinished claim of that age belongs to a process that died: its lease ended long before.
    """
    days = conf().keep_days if keep_days is None else keep_days
    old = IdempotencyKey.objects.filter(created_at__lt=timezone.now() - timedelta(days=days))
    if dry_run:
        return old.count()
    total = 0
    while chunk := list(old.values_list("pk", flat=True)[:CHUNK]):
        total += IdempotencyKey.objects.filter(pk__in=chunk).delete()[0]
    return total
