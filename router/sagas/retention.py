"""Forget finished sagas, so that the log does not grow for ever."""

from datetime import timedelta

from django.utils import timezone

from router.sagas import log
from router.sagas.conf import conf


def purge(*, keep_days: float | None = None, dry_run: bool = False) -> int:
    """Delete sagas that were finished more than ``keep_days`` ago; return how many. Open ones stay for ever."""
    days = conf().keep_days if keep_days is None else keep_days
    return log.purge(timezone.now() - timedelta(days=days), dry_run=dry_run)
