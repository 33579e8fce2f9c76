"""The outbox: events are kept in the transaction of what they tell of (transactional outbox, C. Richardson)."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connections, router, transaction
from django.db.models import Exists, F, Max, OuterRef, QuerySet
from django.utils import timezone

from migrations_plan.sync.events.conf import conf
from migrations_plan.sync.events.errors import NotInTransaction
from migrations_plan.sync.events.models import Delivery, OutboxEvent
from migrations_plan.sync.events.numbers import next_number
from migrations_plan.sync.events.topology import matches
from migrations_plan.sync.events.types import encode, type_of

FAN_OUT_BATCH = 500


def alias() -> str:
    """Return the database that holds the outbox."""
    return router.db_for_write(OutboxEvent)


def publish(payload: Any, *, key: object, owner: Any = None, occurred_at: datetime | None = None) -> uuid.UUID:
    """Keep an event in the caller's transaction and return its id; delivery is somebody else's work, later.

    ``key`` names the aggregate that it happened to, and ``owner`` its partition key, which is needed where the
    aggregate changes hands (``TRAVELS``). Raises NotInTransaction outside of a transaction of the outbox's database,
    Unfit if a field of the payload holds what its declaration does not allow, NoOwner for a missing owner, and
    NotOwner where the other side owns the aggregate.
    """
    declared, data, using, now = type_of(type(payload)), encode(payload), alias(), timezone.now()
    if not connections[using].in_atomic_block:
        raise NotInTransaction(
            f"{declared.name} was published outside of a transaction of the database {using!r}. Publish it in the "
            "transaction.atomic() block that makes the change."
        )
    number = next_number(declared.name, declared.aggregate, str(key), owner, using)
    event = OutboxEvent.objects.using(using).create(
        type=declared.name,
        version=declared.version,
        aggregate=declared.aggregate,
        key=str(key),
        sequence=number.sequence,
        before=number.before,
        payload=data,
        occurred_at=occurred_at or now,
        created_at=now,
    )
    return event.event_id


def fan_out(limit: int = FAN_OUT_BATCH) -> int:
    """Write down who gets the new events; return how many were new. No position is kept, so that none is missed."""
    consumers, using, now = conf().consumers, alias(), timezone.now()
    with transaction.atomic(using=using):
        rows = _locked(OutboxEvent.objects.using(using).filter(fanned_out_at=None).order_by("pk"))
        events = list(rows[:limit])
        for event in events:
            wanted = [name for name, topics in consumers.items() if any(matches(t, event.type) for t in topics)]
            before = _got_before(event, consumers, using)
            Delivery.objects.using(using).bulk_create(
                [Delivery(event=event, consumer=name, after=before.get(name, 0), next_at=now) for name in wanted],
                ignore_conflicts=True,
            )
        OutboxEvent.objects.using(using).filter(pk__in=[event.pk for event in events]).update(fanned_out_at=now)
    return len(events)


def _got_before(event: OutboxEvent, consumers: Mapping[str, Sequence[str]], using: str) -> dict[str, int]:
    """Return, by consumer, the number of the aggregate's latest event that it gets before this one.

    Of an aggregate that changes hands, the earlier ones may be in another outbox, and the event brings along which they
    were. Otherwise they are here. One that is purged is not found, and need not be: all who got it acknowledged it.
    """
    if event.before is not None:
        return {
            name: max(
                (number for kind, number in event.before.items() if any(matches(t, kind) for t in topics)), default=0
            )
            for name, topics in consumers.items()
        }
    earlier = Delivery.objects.using(using).filter(
        event__aggregate=event.aggregate, event__key=event.key, event__sequence__lt=event.sequence
    )
    return dict(earlier.values_list("consumer").annotate(latest=Max("event__sequence")))


def claim_due(limit: int) -> list[Delivery]:
    """Return deliveries to send now, in the order of publication; nobody else gets them before they are due again.

    The claim is the next date itself: a relay that dies leaves nothing behind but a delay.
    """
    settings, using, now, claim = conf(), alias(), timezone.now(), uuid.uuid4()
    rows = Delivery.objects.using(using)
    due = rows.filter(acked_at=None, next_at__lte=now)
    # The earliest of each aggregate first: the order of publication is that of the commits within an aggregate.
    wanted = list(due.order_by("event_id").values_list("pk", "attempts")[:limit])
    for attempts in {attempts for _, attempts in wanted}:
        delay = min(settings.resend_seconds * 2.0 ** min(attempts, 30), settings.max_resend_seconds)
        pks = [pk for pk, tried in wanted if tried == attempts]
        due.filter(pk__in=pks, attempts=attempts).update(
            claim=claim, attempts=attempts + 1, next_at=now + timedelta(seconds=delay)
        )
    return list(rows.filter(claim=claim).select_related("event").order_by("event_id"))


def give_back(deliveries: Iterable[Delivery], why: str) -> None:
    """Make deliveries due again that could not be sent."""
    for delivery in deliveries:
        Delivery.objects.using(alias()).filter(pk=delivery.pk, claim=delivery.claim, acked_at=None).update(
            next_at=timezone.now(), attempts=F("attempts") - 1, last_error=why[:300]
        )


def postpone(deliveries: Iterable[Delivery]) -> None:
    """Let deliveries that were not sent after all be due a while later, as if this time had not been counted."""
    later = timezone.now() + timedelta(seconds=conf().resend_seconds)
    for delivery in deliveries:
        Delivery.objects.using(alias()).filter(pk=delivery.pk, claim=delivery.claim, acked_at=None).update(
            next_at=later, attempts=F("attempts") - 1
        )


def acknowledge(event_ids: Sequence[uuid.UUID], consumer: str) -> int:
    """Note that a consumer has the events; return how many of them are in this outbox."""
    rows = Delivery.objects.using(alias()).filter(event__event_id__in=event_ids, consumer=consumer)
    rows.filter(acked_at=None).update(acked_at=timezone.now(), last_error="")
    return rows.count()


def purge(before: datetime) -> int:
    """Forget published events that are older and were acknowledged by all who get them; return how many."""
    old = OutboxEvent.objects.using(alias()).filter(created_at__lt=before, fanned_out_at__isnull=False)
    done = old.exclude(deliveries__in=Delivery.objects.using(alias()).filter(acked_at=None))
    # The latest of each aggregate stays: the next one is told by it who has followed so far.
    newer = OutboxEvent.objects.using(alias()).filter(
        aggregate=OuterRef("aggregate"), key=OuterRef("key"), sequence__gt=OuterRef("sequence")
    )
    return done.filter(Exists(newer)).delete()[1].get(OutboxEvent._meta.label, 0)


def _locked(rows: QuerySet[OutboxEvent]) -> QuerySet[OutboxEvent]:
    features = connections[rows.db].features
    return rows.select_for_update(skip_locked=True) if features.has_select_for_update_skip_locked else rows
