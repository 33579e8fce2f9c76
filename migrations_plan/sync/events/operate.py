"""What people do about events: look how they stand, retry what is parked, give up what cannot be done."""

import uuid
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min, Q
from django.utils import timezone

from migrations_plan.sync.events import inbox, outbox, runs
from migrations_plan.sync.events.errors import EventError
from migrations_plan.sync.events.models import Delivery, HandlerRun, InboxEvent, OutboxEvent


class UnknownEvent(EventError):
    """No received event has this id."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How outbox and inbox stand."""

    published: int
    not_fanned_out: int
    unacknowledged: int
    oldest_unacknowledged: datetime | None
    received: int
    waiting: int
    """Received events that wait for an earlier one of their aggregate."""
    parked_events: int
    pending: int
    """Handlers that have something to do, or are at it."""
    parked_runs: int
    duplicates: int
    """How often an event came again."""

    @property
    def parked(self) -> int:
        """Return how much waits for somebody to decide."""
        return self.parked_events + self.parked_runs

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        oldest = self.oldest_unacknowledged
        return {**asdict(self), "oldest_unacknowledged": None if oldest is None else oldest.isoformat()}


@dataclass(frozen=True, kw_only=True)
class Parked:
    """A received event that is parked, or whose handlers are."""

    event_id: uuid.UUID
    type: str
    aggregate: str
    key: str
    sequence: int
    handlers: tuple[str, ...]
    """The parked ones; none where the event itself could not be read by anybody."""
    reason: str
    behind: int
    """How many runs of the same handlers wait behind it, in the same aggregate."""

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {**asdict(self), "event_id": str(self.event_id), "handlers": list(self.handlers)}


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a retry or a discard did, or would do."""

    events: tuple[Parked, ...]
    done: bool
    """False for a rehearsal."""


def standing() -> Standing:
    """Count everything, in a few queries."""
    late = Delivery.objects.using(outbox.alias()).filter(acked_at=None)
    received = InboxEvent.objects.using(inbox.alias())
    states = Count("pk", filter=Q(state="waiting")), Count("pk", filter=Q(state="parked"))
    waiting, parked_events = received.aggregate(waiting=states[0], parked=states[1]).values()
    of_runs = HandlerRun.objects.using(runs.alias())
    return Standing(
        published=OutboxEvent.objects.using(outbox.alias()).count(),
        not_fanned_out=OutboxEvent.objects.using(outbox.alias()).filter(fanned_out_at=None).count(),
        unacknowledged=late.count(),
        oldest_unacknowledged=late.aggregate(oldest=Min("event__created_at"))["oldest"],
        received=received.count(),
        waiting=waiting,
        parked_events=parked_events,
        pending=of_runs.filter(state__in=("pending", "running")).count(),
        parked_runs=of_runs.filter(state="parked").count(),
        duplicates=sum(received.filter(duplicates__gt=0).values_list("duplicates", flat=True)),
    )


def parked(event_ids: list[uuid.UUID] | None = None) -> tuple[Parked, ...]:
    """Return what is parked, oldest first; of the events named, if any are. Raises UnknownEvent."""
    rows = InboxEvent.objects.using(inbox.alias()).filter(Q(state="parked") | Q(runs__state="parked"))
    if event_ids is not None:
        _all_known(event_ids)
        rows = rows.filter(event_id__in=event_ids)
    return tuple(_parked(event) for event in rows.distinct().order_by("received_at", "pk").prefetch_related("runs"))


def retry(event_ids: list[uuid.UUID] | None = None, *, dry_run: bool = False) -> Done:
    """Let parked events, and parked handlers of events, have another try; all of them unless some are named."""
    found = parked(event_ids)
    if not dry_run:
        for event in _events(found):
            if event.state == InboxEvent.State.PARKED:
                inbox.release_again(event)
            else:
                runs.retry(_parked_runs(event))
    return Done(events=found, done=not dry_run)


def discard(event_ids: list[uuid.UUID], why: str, *, dry_run: bool = False) -> Done:
    """Give parked events up for good, with the reason, so that what waits behind them goes on."""
    if not why.strip():
        raise EventError("Say why they are given up: nobody will be able to tell later.")
    found = parked(event_ids)
    if not dry_run:
        for event in _events(found):
            inbox.give_up(event, why)
            runs.discard(_parked_runs(event), why)
    return Done(events=found, done=not dry_run)


def show(event_id: uuid.UUID) -> InboxEvent:
    """Return a received event with its runs; raise UnknownEvent."""
    _all_known([event_id])
    return InboxEvent.objects.using(inbox.alias()).prefetch_related("runs").get(event_id=event_id)


def purge(days: float) -> tuple[int, int]:
    """Forget what is over and older; return how many received and how many published events."""
    before = timezone.now() - timedelta(days=days)
    return inbox.purge(before), outbox.purge(before)


def _parked(event: InboxEvent) -> Parked:
    stuck = [run for run in event.runs.all() if run.state == HandlerRun.State.PARKED]
    behind = HandlerRun.objects.using(runs.alias()).filter(
        consumer=event.consumer,
        handler__in=[run.handler for run in stuck if run.ordered],
        aggregate=event.aggregate,
        key=event.key,
        sequence__gt=event.sequence,
        state__in=("pending", "running"),
    )
    return Parked(
        event_id=event.event_id,
        type=event.type,
        aggregate=event.aggregate,
        key=event.key,
        sequence=event.sequence,
        handlers=tuple(run.handler for run in stuck),
        reason=event.reason or "; ".join(sorted({run.reason for run in stuck})),
        behind=behind.count(),
    )


def _events(found: tuple[Parked, ...]) -> list[InboxEvent]:
    ids = [event.event_id for event in found]
    return list(InboxEvent.objects.using(inbox.alias()).filter(event_id__in=ids).order_by("received_at", "pk"))


def _parked_runs(event: InboxEvent) -> list[int]:
    return list(event.runs.filter(state=HandlerRun.State.PARKED).values_list("pk", flat=True))


def _all_known(event_ids: list[uuid.UUID]) -> None:
    rows = InboxEvent.objects.using(inbox.alias()).filter(event_id__in=event_ids)
    missing = set(event_ids) - set(rows.values_list("event_id", flat=True))
    if missing:
        names = ", ".join(str(event_id) for event_id in sorted(missing))
        raise UnknownEvent(f"No event {names} was received here. `manage.py events list` shows those that were.")
