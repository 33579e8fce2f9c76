"""Prove that documents of one side can be made into rows of the other, before anything depends on it.

Until ownership changes hands, nothing has ever gone the way back. So documents as the replica's rows make them are
applied at the owner, compared, and rolled back; whatever would be parked later is known before.
"""

from collections.abc import Sequence

from django.db import transaction

from migrations_plan.sync import apply, database, ownership
from migrations_plan.sync.aggregates import Aggregate
from migrations_plan.sync.capture.triggers import NO_OWNER
from migrations_plan.sync.documents import form_of
from migrations_plan.sync.errors import Unloadable
from migrations_plan.sync.messages import Document, Outcome, Result
from migrations_plan.sync.models import Applied, Mark
from migrations_plan.sync.scan import scan_of


def documents(aggregate: Aggregate, keys: Sequence[str]) -> tuple[Document, ...]:
    """Return documents as the rows here make them now, whoever owns them; keys without rows are left out."""
    form = form_of(aggregate)
    with database.snapshot(aggregate.alias):
        epochs = {one.bucket: one.epoch for one in ownership.states(aggregate)}
        found = form.read([form.key_value(key) for key in keys])
        buckets: dict[str, int] = {}
        for model in (Applied, Mark):
            rows = model._default_manager.using(aggregate.alias).filter(aggregate=aggregate.name, key__in=keys)
            buckets |= dict(rows.values_list("key", "bucket"))
    return tuple(
        Document(
            key=key,
            bucket=buckets.get(key, NO_OWNER),
            epoch=max(1, epochs.get(buckets.get(key, NO_OWNER), 1)),
            gen=1,
            version=aggregate.version,
            data=found[form.key_value(key)],
        )
        for key in keys
        if form.key_value(key) in found
    )


def rehearse(aggregate: Aggregate, given: Sequence[Document]) -> tuple[Result, ...]:
    """Apply each document as a replica would, look whether the rows make the same document, and roll it back."""
    return tuple(_rehearse(aggregate, document) for document in given)


def _rehearse(aggregate: Aggregate, document: Document) -> Result:
    try:
        problem = _problem(aggregate, document)
    except apply.TROUBLE as error:
        apply.raise_if_lost(error)
        problem = apply.told(error)
    except Unloadable as error:
        problem = str(error)
    outcome = Outcome.PARKED if problem else Outcome.APPLIED
    return Result(key=document.key, gen=document.gen, outcome=outcome, reason=problem)


def _problem(aggregate: Aggregate, document: Document) -> str:
    """Return what would keep the document from being applied here, or what would become of it; empty if nothing."""
    wanted = apply.wanted_of(form_of(aggregate), document)
    with transaction.atomic(using=aggregate.alias):
        database.check_references_at_once(aggregate.alias)
        database.lock_shared(aggregate.alias, aggregate.group, [document.bucket])
        with database.capture_suppressed(aggregate.alias):
            apply.write_carefully(aggregate, wanted)
            made = [one.digest for one in scan_of(aggregate).of_keys([wanted.key])]
        transaction.set_rollback(True, using=aggregate.alias)
    if made != ([wanted.digest] if wanted.loaded is not None else []):
        return f"Applied here, its rows make another document: {', '.join(made) or 'none'} instead of {wanted.digest}."
    return ""
