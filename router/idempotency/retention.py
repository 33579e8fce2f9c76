"""Forget old idempotency keys, so that the tables do not grow for ever."""

import logging
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any

from django.db import router, transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from router.fences import NotOwner
from router.idempotency.conf import conf
from router.idempotency.models import IdempotencyKey, TravellingKey

logger = logging.getLogger("router")

CHUNK = 1000
Owned = Callable[[str], Collection[int] | None]
"""Given a service, returns which of its buckets this side may write; None where nobody has divided them."""


def purge(*, keep_days: int | None = None, dry_run: bool = False) -> int:
    """Delete keys made more than ``keep_days`` ago, a chunk per transaction; return how many rows went.

    An unfinished claim of that age belongs to a process that died: its lease ended long before. Of the answers that
    change hands with their data only those that are ours to write go; the others go by sync, when their owner forgets
    them.
    """
    days = conf().keep_days if keep_days is None else keep_days
    before = timezone.now() - timedelta(days=days)
    claims = _rows(IdempotencyKey).filter(created_at__lt=before)
    return _purge(claims, dry_run=dry_run) + _purge_travelling(before, dry_run=dry_run)


def _purge_travelling(before: datetime, *, dry_run: bool) -> int:
    old, total = _rows(TravellingKey).filter(completed_at__lt=before), 0
    owned: dict[str, Collection[int] | None] = {}
    for scope, number in sorted(set(old.values_list("scope", "bucket"))):
        if scope not in owned:
            owned[scope] = _owned(scope)
        ours = owned[scope]
        if ours is not None and number not in ours:
            continue
        try:
            total += _purge(old.filter(scope=scope, bucket=number), dry_run=dry_run)
        except NotOwner:  # its new owner forgets them
            logger.info("bucket %s of %s is not ours: its old keys stay", number, scope)
    return total


def _purge(old: Any, *, dry_run: bool) -> int:
    if dry_run:
        return int(old.count())
    total = 0
    while chunk := list(old.values_list("pk", flat=True)[:CHUNK]):
        with transaction.atomic(using=old.db):
            total += _rows(old.model).filter(pk__in=chunk).delete()[0]
    return total


def _owned(scope: str) -> Collection[int] | None:
    path = conf().owned_buckets
    owned: Owned | None = import_string(path) if path else None
    return None if owned is None else owned(scope)


def _rows(model: Any) -> Any:
    return model.objects.using(router.db_for_write(IdempotencyKey))
