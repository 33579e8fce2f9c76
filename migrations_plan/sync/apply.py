"""Make this side equal to what the other one sends: late, twice, out of order, and with some that do not fit.

A batch is one transaction. Under the locks of its buckets and the rows that say who owns them, documents that are
newer than what was applied become rows: all together if the database takes them, else each in a savepoint of its own,
so that one that cannot be applied is parked with its reason and the rest goes on.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError, transaction

from migrations_plan.sync import applied, arrays, database, ownership
from migrations_plan.sync.aggregates import Aggregate
from migrations_plan.sync.buckets import BUCKETS
from migrations_plan.sync.documents import Form, Loaded, canonical, digest_of, form_of
from migrations_plan.sync.errors import Unloadable
from migrations_plan.sync.messages import BucketState, Document, Outcome, Result, State
from migrations_plan.sync.models import ParkedDocument
from migrations_plan.sync.references import NotHere, References
from migrations_plan.sync.writing import Writer, WrongParent

logger = logging.getLogger("strangler.sync")

TROUBLE = (DatabaseError, NotHere, WrongParent, ArithmeticError, ValueError, TypeError)
"""What a database and its driver raise about values that do not fit."""
NUL = rb"\u0000"
"""As JSON spells it."""
BATCH = 500
"""Documents in one transaction: its locks keep ownership from changing for as long."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A document that is to be applied, as rows; None where it is to be deleted."""

    document: Document
    key: Any
    loaded: Loaded | None
    digest: str


def apply(aggregate: Aggregate, documents: Sequence[Document]) -> tuple[Result, ...]:
    """Apply documents; return what became of each, in their order. Committed when this returns."""
    results: list[Result] = []
    for start in range(0, len(documents), BATCH):
        results.extend(_apply_batch(aggregate, documents[start : start + BATCH]))
    return tuple(results)


def _apply_batch(aggregate: Aggregate, documents: Sequence[Document]) -> list[Result]:
    results: dict[int, Result] = {}
    sane = []
    for number, document in enumerate(documents):
        problem = _insane(document)
        if problem:
            results[number] = _result(document, Outcome.PARKED, problem)
        else:
            sane.append((number, document))
    # Several versions of one aggregate: one round each, in the order given.
    while sane:
        this: list[tuple[int, Document]] = []
        later: list[tuple[int, Document]] = []
        keys: set[str] = set()
        for number, document in sane:
            (later if document.key in keys else this).append((number, document))
            keys.add(document.key)
        for (number, _), result in zip(this, _apply_round(aggregate, [one for _, one in this]), strict=True):
            results[number] = result
        sane = later
    return [results[number] for number in range(len(documents))]


def _insane(document: Document) -> str:
    """Return why a document cannot be meant; empty if it can."""
    if not 0 <= document.bucket < BUCKETS:
        return f"There is no bucket {document.bucket}: they go from 0 to {BUCKETS - 1}."
    if document.gen < 1 or document.epoch < 1:
        return f"Version {document.gen} in epoch {document.epoch}: both count from 1."
    return ""


def _apply_round(aggregate: Aggregate, documents: Sequence[Document]) -> list[Result]:
    """Apply documents of different aggregates in one transaction."""
    form, buckets = form_of(aggregate), {document.bucket for document in documents}
    results: dict[str, Result] = {}
    with transaction.atomic(using=aggregate.alias):
        arrays.by_index(aggregate.alias)
        database.check_references_at_once(aggregate.alias)
        database.lock_shared(aggregate.alias, aggregate.group, buckets)
        states = ownership.locked_states(aggregate, buckets)
        admitted = [one for one in documents if not _note(results, one, _refusal(one, states[one.bucket]))]
        versions = _locked_versions(aggregate, admitted)
        newer = [one for one in admitted if not _note(results, one, _skipped(one, versions[one.key]))]
        wanted: list[Wanted] = []
        for document in newer:
            try:
                wanted.append(wanted_of(form, document))
            except Unloadable as error:
                _note(results, document, _result(document, Outcome.PARKED, str(error)))
        with database.capture_suppressed(aggregate.alias):
            for place, reason in _write(aggregate, wanted).items():
                stuck = wanted[place].document
                _note(results, stuck, _result(stuck, Outcome.PARKED, reason))
        done = [one for one in wanted if one.document.key not in results]
        for one in done:
            results[one.document.key] = _result(one.document, Outcome.APPLIED)
        _remember(aggregate, done)
        _park(aggregate, [(one, results[one.key]) for one in documents if results[one.key].outcome is Outcome.PARKED])
    return [results[document.key] for document in documents]


def _note(results: dict[str, Result], document: Document, result: Result | None) -> bool:
    if result is not None:
        results[document.key] = result
    return result is not None


def _refusal(document: Document, state: BucketState) -> Result | None:
    """Return the refusal of a document that this side must not apply now."""
    if state.state is not State.REPLICA:
        reason = f"Bucket {document.bucket} is {state.state} here: only a replica is written by sync."
        return _result(document, Outcome.REFUSED_STATE, reason)
    if document.epoch < state.epoch:
        reason = f"Epoch {document.epoch} of bucket {document.bucket} is over: it is {state.epoch} here."
        return _result(document, Outcome.REFUSED_EPOCH, reason)
    return None


def _skipped(document: Document, version: int) -> Result | None:
    return _result(document, Outcome.SKIPPED) if document.gen <= version else None


def _result(document: Document, outcome: Outcome, reason: str = "") -> Result:
    return Result(key=document.key, gen=document.gen, outcome=outcome, reason=reason)


def _locked_versions(aggregate: Aggregate, documents: Sequence[Document]) -> Mapping[str, int]:
    """Return the versions that were applied, with their rows locked, so that no older one overtakes."""
    ordered = sorted(documents, key=lambda document: document.key)
    if not ordered:
        return {}
    return applied.locked(aggregate, [(one.key, one.bucket) for one in ordered])


def wanted_of(form: Form, document: Document) -> Wanted:
    """Return a document as the rows that it is to become; raise Unloadable."""
    key = form.key_value(document.key)
    if document.data is None:
        return Wanted(document=document, key=key, loaded=None, digest="")
    try:
        data = form.current(document.version, document.data)
        return Wanted(document=document, key=key, loaded=form.load(key, data), digest=digest_of(data))
    except Unloadable:
        raise
    except Exception as error:  # a project's own conversion
        raise Unloadable(f"The document cannot be loaded: {error!r}.") from error


def _write(aggregate: Aggregate, wanted: Sequence[Wanted]) -> dict[int, str]:
    """Write the rows; return the reasons of those that the database does not take, by their place."""
    writer = Writer(aggregate)
    if not wanted:
        return {}
    try:
        with transaction.atomic(using=aggregate.alias):
            _write_all(writer, wanted)
        return {}
    except TROUBLE as error:
        raise_if_lost(error)
    reasons: dict[int, str] = {}
    for number, one in enumerate(wanted):
        try:
            with transaction.atomic(using=aggregate.alias):
                _write_all(writer, [one], carefully=True)
        except TROUBLE as error:
            raise_if_lost(error)
            reasons[number] = told(error)
    return reasons


def raise_if_lost(error: Exception) -> None:
    """Let a lost connection, a lock timeout or a deadlock end the whole batch; it says nothing about a document."""
    if isinstance(error, OperationalError | InterfaceError):
        raise error


def write_carefully(aggregate: Aggregate, one: Wanted) -> None:
    """Write the rows of one document, in the caller's transaction; raise what the database does not take."""
    _write_all(Writer(aggregate), [one], carefully=True)


def _write_all(writer: Writer, wanted: Sequence[Wanted], *, carefully: bool = False) -> None:
    gone = [one.key for one in wanted if one.loaded is None]
    documents = [one.loaded for one in wanted if one.loaded is not None]
    references = References(writer.aggregate)
    references.require(gone, documents)
    writer.delete(gone)
    writer.put(documents, carefully=carefully)


def told(error: Exception) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


def _remember(aggregate: Aggregate, done: Sequence[Wanted]) -> None:
    """Note the versions that are here now; what was parked of these aggregates is over."""
    if not done:
        return
    applied.note(
        aggregate,
        [
            applied.Version(
                key=one.document.key,
                bucket=one.document.bucket,
                epoch=one.document.epoch,
                gen=one.document.gen,
                digest=one.digest,
                deleted=one.loaded is None,
            )
            for one in done
        ],
    )
    parked = ParkedDocument.objects.using(aggregate.alias).filter(aggregate=aggregate.name)
    if parked.exists():
        parked.filter(key__in=[one.document.key for one in done]).delete()


def _park(aggregate: Aggregate, parked: Sequence[tuple[Document, Result]]) -> None:
    """Keep what could not be applied, with the reason; the sender sends it again, or a newer version."""
    rows = ParkedDocument.objects.using(aggregate.alias)
    for document, result in parked:
        logger.warning("%s %s is parked: %s", aggregate.name, document.key, result.reason)
        row, created = rows.get_or_create(
            aggregate=aggregate.name,
            key=document.key,
            defaults={
                "bucket": document.bucket,
                "epoch": document.epoch,
                "gen": document.gen,
                "version": document.version,
                "data": _keepable(document),
                "reason": result.reason[:500],
            },
        )
        if not created and document.gen >= row.gen:
            row.gen, row.epoch, row.version, row.data = (
                document.gen,
                document.epoch,
                document.version,
                _keepable(document),
            )
            row.reason, row.tries = result.reason[:500], row.tries + 1
            row.save(using=aggregate.alias)


def _keepable(document: Document) -> Any:
    """Return the data to keep with the reason; none where it has the one character that PostgreSQL's JSON cannot."""
    return None if document.data is None or NUL in canonical(document.data) else document.data
