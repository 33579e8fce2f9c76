"""Run the handlers: in order, as often as it takes, and not one time more."""

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import router, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from migrations_plan.sync.events.conf import conf
from migrations_plan.sync.events.errors import EventError
from migrations_plan.sync.events.handlers import Effects, Event, Handler, handler_named, handlers_of
from migrations_plan.sync.events.models import HandlerRun, InboxEvent
from migrations_plan.sync.events.types import decode

logger = logging.getLogger("strangler.events")

State = HandlerRun.State
OVER = (State.DONE, State.DISCARDED)
BATCH = 100
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 300.0


class NotOurs(EventError):
    """The run was taken by another worker in the meantime."""


@dataclass(frozen=True, kw_only=True)
class WorkReport:
    """What one pass did."""

    done: int = 0
    failed: int = 0

    def __str__(self) -> str:
        return f"{self.done} handlers ran, {self.failed} failed"


def alias() -> str:
    """Return the database that holds the inbox, and so the effects of handlers."""
    return router.db_for_write(HandlerRun)


def create(event: InboxEvent, using: str) -> None:
    """Write down what the handlers of this program have to do about an event."""
    parked = event.state == InboxEvent.State.PARKED
    now = timezone.now()
    HandlerRun.objects.using(using).bulk_create(
        [
            HandlerRun(
                event=event,
                consumer=event.consumer,
                handler=handler.name,
                ordered=handler.ordered,
                aggregate=event.aggregate,
                key=event.key,
                sequence=event.sequence,
                state=State.PARKED if parked else State.PENDING,
                reason=event.reason,
                next_at=now,
            )
            for handler in handlers_of(event.type)
        ],
        ignore_conflicts=True,
    )


def work(*, limit: int = 1000) -> WorkReport:
    """Run every handler that is due, up to a limit; what fails is tried again later."""
    done = failed = 0
    while done + failed < limit:
        due = list(_due()[:BATCH])
        if not due:
            break
        outcomes = [_attempt(run) for run in due]
        done += outcomes.count(True)
        failed += outcomes.count(False)
        if set(outcomes) == {None}:  # other workers have them all
            break
    return WorkReport(done=done, failed=failed)


def retry(pks: list[int]) -> int:
    """Give parked runs another try from the beginning; return how many."""
    parked = HandlerRun.objects.using(alias()).filter(pk__in=pks, state=State.PARKED)
    return parked.update(state=State.PENDING, attempts=0, next_at=timezone.now(), token=None)


def discard(pks: list[int], why: str) -> int:
    """Give parked runs up for good, so that later events go on; return how many."""
    parked = HandlerRun.objects.using(alias()).filter(pk__in=pks, state=State.PARKED)
    return parked.update(state=State.DISCARDED, reason=why, done_at=timezone.now())


def _due() -> QuerySet[HandlerRun]:
    """Return the runs whose time has come and that no earlier one stands in the way of."""
    rows = HandlerRun.objects.using(alias())
    earlier = rows.filter(
        consumer=OuterRef("consumer"),
        handler=OuterRef("handler"),
        aggregate=OuterRef("aggregate"),
        key=OuterRef("key"),
        sequence__lt=OuterRef("sequence"),
    ).exclude(state__in=OVER)
    ready = rows.filter(consumer=conf().consumer, state__in=(State.PENDING, State.RUNNING), next_at__lte=timezone.now())
    return ready.filter(Q(ordered=False) | ~Exists(earlier)).select_related("event").order_by("event_id", "pk")


def _attempt(run: HandlerRun) -> bool | None:
    """Run one handler; return whether it succeeded, None if another worker has it."""
    handler = handler_named(run.handler)
    if handler is None:
        _park(run, f"This program has no handler called {run.handler}.")
        return False
    token = _begin(run)
    if token is None:
        return None
    if run.attempts >= conf().max_attempts:  # it never came back: whoever ran it died of it each time
        _park(run, run.reason or f"The worker did not come back from it {run.attempts} times.")
        return False
    try:
        _EFFECTS[handler.effects](handler, run, token)
    except NotOurs:
        return None
    except Exception as error:
        _failed(run, token, error)
        return False
    return True


def _begin(run: HandlerRun) -> uuid.UUID | None:
    """Take a run for the length of the lease, or return None if somebody else was faster.

    Counted before the handler runs, so that one that kills its worker is given up in the end.
    """
    token, now = uuid.uuid4(), timezone.now()
    lease = now + timedelta(seconds=conf().lease_seconds)
    mine = HandlerRun.objects.using(alias()).filter(
        pk=run.pk, attempts=run.attempts, state__in=(State.PENDING, State.RUNNING), next_at__lte=now
    )
    taken = mine.update(state=State.RUNNING, token=token, attempts=F("attempts") + 1, next_at=lease)
    return token if taken else None


def _in_the_database(handler: Handler, run: HandlerRun, token: uuid.UUID) -> None:
    """Run the handler and note that it ran in one transaction, beginning with the note: nobody else gets past that."""
    with transaction.atomic(using=alias()):
        _finish(run, token)
        handler.function(_event(run))


def _outside(handler: Handler, run: HandlerRun, token: uuid.UUID) -> None:
    """Run the handler, then note it. Between the two its worker may die: it is run again, with the same key."""
    handler.function(_event(run))
    _finish(run, token)


_EFFECTS = {Effects.DATABASE: _in_the_database, Effects.OUTSIDE: _outside}


def _finish(run: HandlerRun, token: uuid.UUID) -> None:
    mine = HandlerRun.objects.using(alias()).filter(pk=run.pk, token=token, state=State.RUNNING)
    if not mine.update(state=State.DONE, done_at=timezone.now(), reason=""):
        raise NotOurs


def _event(run: HandlerRun) -> Event[object]:
    event = run.event
    return Event(
        id=event.event_id,
        type=event.type,
        version=event.version,
        key=event.key,
        sequence=event.sequence,
        occurred_at=event.occurred_at,
        payload=decode(event.type, event.version, event.payload),
        handler=run.handler,
        attempt=run.attempts + 1,
    )


def _failed(run: HandlerRun, token: uuid.UUID, error: Exception) -> None:
    """Try again later, or give it up."""
    attempts, reason = run.attempts + 1, f"{type(error).__name__}: {error}"
    logger.warning("%s failed, attempt %d: %s", run, attempts, reason, exc_info=error)
    if attempts >= conf().max_attempts:
        _park(run, reason)
        return
    HandlerRun.objects.using(alias()).filter(pk=run.pk, token=token, state=State.RUNNING).update(
        state=State.PENDING, token=None, next_at=_later(attempts), reason=reason
    )


def _later(attempts: int) -> datetime:
    delay = min(FIRST_RETRY_SECONDS * 2.0 ** min(attempts - 1, 30), LAST_RETRY_SECONDS)
    return timezone.now() + timedelta(seconds=delay)


def _park(run: HandlerRun, reason: str) -> None:
    logger.error("%s is parked: %s", run, reason)
    HandlerRun.objects.using(alias()).filter(pk=run.pk).exclude(state__in=OVER).update(
        state=State.PARKED, token=None, reason=reason
    )
