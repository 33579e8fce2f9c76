"""The rows of the log. Each change is a compare-and-swap on who runs the saga and where it stands.

Whoever takes a saga over replaces its token, so a process that was given up for dead and is not can change nothing.
Clocks decide when somebody tries to take over, never whether two succeed.
"""

import uuid
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import router, transaction
from django.db.models import Count, QuerySet
from django.utils import timezone

from router.buckets import bucket
from router.routes import Key
from router.sagas.conf import conf
from router.sagas.errors import SagaLost, UnknownSaga
from router.sagas.models import Outcome, Saga
from router.sagas.types import SagaType

State = Saga.State


@dataclass(kw_only=True)
class Held:
    """A saga that this process runs, as it was last seen."""

    id: uuid.UUID
    name: str
    token: uuid.UUID
    key: str
    data: Mapping[str, Any]
    state: str
    step: int
    results: dict[str, Any] = field(default_factory=dict)


def alias() -> str:
    """Return the database that holds the log."""
    return router.db_for_write(Saga)


def create(kind: SagaType, key: Key, data: Mapping[str, Any], state: State) -> Held:
    """Write down a saga, run by us from the beginning."""
    now, token = timezone.now(), uuid.uuid4()
    row = _rows().create(
        name=kind.name,
        service=kind.service,
        key=str(key),
        bucket=bucket(kind.service, key),
        state=state,
        data=dict(data),
        token=token,
        lease_until=_lease(now),
        next_at=now,
        created_at=now,
    )
    return Held(id=row.pk, name=row.name, token=token, key=row.key, data=row.data, state=state, step=0)


def advance(held: Held, name: str, result: Any, *, last: bool) -> None:
    """Note that the step under way is done, and go on to the next; raise SagaLost if others run the saga by now."""
    changes: dict[str, Any] = {"step": held.step + 1}
    if last:
        changes |= {"state": State.DONE, "finished_at": timezone.now()}
    with transaction.atomic(using=alias()):
        _swap(held, changes)
        _note(held, name, result)
    held.results[name] = result


def cross(held: Held, name: str, *, last: bool) -> None:
    """Pass the point of no return in the caller's transaction; raise SagaLost if the saga is being undone."""
    changes: dict[str, Any] = {"step": held.step + 1, "state": State.DONE if last else State.COMMITTED}
    if last:
        changes["finished_at"] = timezone.now()
    before = held.state, held.step
    _swap(held, changes)
    _note(held, name, None)
    held.state, held.step = before  # until the transaction is over nobody knows


def turn_back(held: Held, step: int) -> None:
    """Begin to undo what was done up to ``step``, which then can never pass the point of no return."""
    if step < 0:
        _swap(held, {"state": State.COMPENSATED, "finished_at": timezone.now()})
    else:
        _swap(held, {"state": State.COMPENSATING, "step": step})


def retreat(held: Held, name: str, *, undone: bool) -> None:
    """Note that the step under way is undone, if there was anything to undo, and go on to the one before it."""
    first = held.step == 0
    changes = {"state": State.COMPENSATED, "finished_at": timezone.now()} if first else {"step": held.step - 1}
    with transaction.atomic(using=alias()):
        _swap(held, changes)
        if undone:
            _note(held, name, None, undone=True)


def fail(held: Held, error: str) -> bool:
    """Note that the step under way has failed, and let go of the saga; return whether it waits for a person now."""
    settings, now = conf(), timezone.now()
    tries = _mine(held).values_list("tries", flat=True).first()
    if tries is None:
        return False
    wait = min(settings.retry_seconds * 2.0 ** min(tries, 30), settings.max_retry_seconds)
    stuck = bool(tries + 1 >= settings.max_tries)
    _mine(held).update(
        tries=tries + 1,
        error=error[:500],
        lease_until=now,
        next_at=now + timedelta(seconds=wait),
        stuck_at=now if stuck else None,
    )
    return stuck


def due(limit: int) -> list[uuid.UUID]:
    """Return the sagas that nobody runs and whose time has come, those that have waited longest first."""
    now = timezone.now()
    rows = _open().filter(stuck_at=None, next_at__lte=now, lease_until__lte=now)
    return list(rows.order_by("next_at", "pk").values_list("pk", flat=True)[:limit])


def take(saga: uuid.UUID, *, by_hand: bool = False) -> Held | None:
    """Take a saga over; None if somebody runs it or it has ended. By hand it is taken also if it is not its time."""
    now, token = timezone.now(), uuid.uuid4()
    row = _open().filter(pk=saga, lease_until__lte=now).first()
    if row is None:
        return None
    again = {"tries": 0, "stuck_at": None} if by_hand else {}
    rows = _open().filter(pk=saga, token=row.token, lease_until__lte=now)
    if not rows.update(token=token, lease_until=_lease(now), **again):
        return None
    return look(saga, token)


def look(saga: uuid.UUID, token: uuid.UUID) -> Held | None:
    """Return the saga as it stands now, None if others run it."""
    row = _rows().filter(pk=saga, token=token).first()
    if row is None:
        return None
    done = Outcome.objects.using(alias()).filter(saga_id=saga, undone=False)
    results = dict(done.values_list("step", "result"))
    return Held(
        id=row.pk,
        name=row.name,
        token=token,
        key=row.key,
        data=row.data,
        state=row.state,
        step=row.step,
        results=results,
    )


def find(saga: uuid.UUID) -> Saga:
    """Return the row of a saga; raise UnknownSaga."""
    row = _rows().filter(pk=saga).first()
    if row is None:
        raise UnknownSaga(f"There is no saga {saga}.")
    return row


def outcomes(saga: uuid.UUID) -> list[Outcome]:
    """Return what the steps of a saga have done, in order."""
    return list(Outcome.objects.using(alias()).filter(saga_id=saga).order_by("pk"))


def listed(*, stuck: bool = False, finished: bool = False) -> QuerySet[Saga]:
    """Return open sagas, oldest first; only those that wait for a person, or finished ones as well."""
    rows = _rows() if finished else _open()
    return (rows.exclude(stuck_at=None) if stuck else rows).order_by("created_at", "pk")


def open_by_bucket(service: str, buckets: Collection[int] | None = None) -> Mapping[int, int]:
    """Return how many sagas are open in each bucket that has any: a bucket with one cannot change hands."""
    rows = _open().filter(service=service)
    if buckets is not None:
        rows = rows.filter(bucket__in=buckets)
    return Counter(dict(rows.order_by().values_list("bucket").annotate(Count("pk"))))


def purge(before: datetime, *, dry_run: bool = False, chunk: int = 1000) -> int:
    """Forget sagas that were finished before; return how many."""
    old = _rows().filter(finished_at__lt=before)
    if dry_run:
        return old.count()
    total = 0
    while found := list(old.values_list("pk", flat=True)[:chunk]):
        total += _rows().filter(pk__in=found).delete()[1].get(Saga._meta.label, 0)
    return total


def _swap(held: Held, changes: dict[str, Any]) -> None:
    """Change the row if we still run the saga and it stands where we think it does."""
    kept: dict[str, Any] = {"tries": 0, "error": "", "lease_until": _lease(timezone.now())}
    rows = _mine(held).filter(state=held.state, step=held.step)
    if not rows.update(**{**kept, **changes}):
        raise SagaLost(f"The saga {held.name} {held.id} is in other hands, or has gone on.")
    held.state, held.step = changes.get("state", held.state), changes.get("step", held.step)


def _note(held: Held, name: str, result: Any, *, undone: bool = False) -> None:
    Outcome.objects.using(alias()).create(saga_id=held.id, step=name, undone=undone, result=result, at=timezone.now())


def _mine(held: Held) -> QuerySet[Saga]:
    return _rows().filter(pk=held.id, token=held.token)


def _open() -> QuerySet[Saga]:
    return _rows().filter(finished_at=None)


def _rows() -> QuerySet[Saga]:
    return Saga.objects.using(alias())


def _lease(now: datetime) -> datetime:
    return now + timedelta(seconds=conf().lease_seconds)
