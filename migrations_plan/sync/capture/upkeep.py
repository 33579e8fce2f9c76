"""Look after the triggers: Django's migrations rebuild tables on SQLite, and their triggers are gone without a word."""

import logging
from typing import Any

from django.db import connections, transaction
from django.db.models import F

from migrations_plan.sync import backfill, ids, ownership
from migrations_plan.sync.aggregates import Aggregate, declared
from migrations_plan.sync.capture import install
from migrations_plan.sync.capture.triggers import Health
from migrations_plan.sync.conf import conf
from migrations_plan.sync.errors import SyncError
from migrations_plan.sync.models import Capture

logger = logging.getLogger("strangler.sync")

LABEL = "strangler_sync"


def installed(aggregate: Aggregate) -> bool:
    """Return whether the triggers are to be there: somebody has installed them and nobody has removed them."""
    return Capture.objects.using(aggregate.alias).filter(aggregate=aggregate.name).exists()


def start(aggregate: Aggregate) -> tuple[str, ...]:
    """Install the triggers and write down who owns what; return the names of triggers that were put."""
    ownership.establish(aggregate)
    ids.start(aggregate)
    if installed(aggregate):
        return mend(aggregate)
    put = install.put(aggregate)
    Capture.objects.using(aggregate.alias).create(aggregate=aggregate.name)
    return put


def stop(aggregate: Aggregate) -> tuple[str, ...]:
    """Remove the triggers. Marks stay, since versions must never count from the beginning again.

    From now on they tell less than the truth. So what was backfilled counts as not backfilled, and the next start
    marks everything anew.
    """
    with transaction.atomic(using=aggregate.alias):
        Capture.objects.using(aggregate.alias).filter(aggregate=aggregate.name).delete()
        backfill.forget(aggregate)
    return install.remove(aggregate)


def mend(aggregate: Aggregate) -> tuple[str, ...]:
    """Put back triggers that are not as they have to be; if one was gone, mark everything: nobody saw what changed."""
    ids.start(aggregate)
    found = install.status(aggregate)
    if not any(one.health in {Health.MISSING, Health.DISABLED} for one in found):
        return install.put(aggregate)
    names = ", ".join(one.name for one in found if not one.works)
    logger.error("%s: triggers were missing and are put back, everything is marked anew: %s", aggregate.name, names)
    with transaction.atomic(using=aggregate.alias):  # whoever dies in between leaves both undone
        Capture.objects.using(aggregate.alias).filter(aggregate=aggregate.name).update(gaps=F("gaps") + 1)
        backfill.start(aggregate, anew=True)
        return install.put(aggregate)


def before_migrate(sender: Any, using: str, plan: Any, **kwargs: Any) -> None:
    """Take triggers away on SQLite before migrations that may rebuild their tables; ``after_migrate`` puts them back.

    SQLite renames no table into the place of one that a trigger of another table names, as those of parts do. Who
    writes meanwhile goes unseen, so everything is marked anew afterwards, also if nothing was rebuilt in the end.
    Where buckets have changed hands the triggers are fences, too, which nothing can make up for: then it is refused.
    """
    if sender.label != LABEL or connections[using].vendor != "sqlite":
        return
    migrated = {migration.app_label for migration, _ in plan}
    for aggregate in declared():
        if aggregate.alias != using or not install.tables_exist(aggregate) or not installed(aggregate):
            continue
        touched = migrated & {LABEL, *(rows.model_class._meta.app_label for rows in aggregate.tables)}
        if touched and ownership.moved(aggregate):
            raise SyncError(
                f"Migrations of {', '.join(sorted(touched))} may rebuild tables of {aggregate.name}, which on SQLite "
                "drops the triggers that keep this side from writing in buckets that have changed hands. Bring them "
                f"home first (`phase rollback {aggregate.group}`), migrate, and go on."
            )
        if touched:
            install.remove(aggregate)


def after_migrate(sender: Any, using: str, **kwargs: Any) -> None:
    """Put triggers back once all migrations have run."""
    if sender.label != LABEL:
        return
    for aggregate in declared():
        if aggregate.alias != using or not install.tables_exist(aggregate):
            continue
        if installed(aggregate):
            mend(aggregate)
        elif conf().capture:
            start(aggregate)
