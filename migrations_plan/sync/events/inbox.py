"""The inbox: each event is taken in once, and handed on in the order of its aggregate."""

import json
import logging
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from django.core.serializers.json import DjangoJSONEncoder
from django.db import IntegrityError, router, transaction
from django.db.models import F
from django.utils import timezone

from migrations_plan.sync.events import envelopes, runs
from migrations_plan.sync.events.conf import conf
from migrations_plan.sync.events.envelopes import Envelope
from migrations_plan.sync.events.errors import EventError, Unreadable
from migrations_plan.sync.events.models import Cursor, HandlerRun, InboxEvent
from migrations_plan.sync.events.types import decode

logger = logging.getLogger("strangler.events")

State = InboxEvent.State


class NoConsumer(EventError):
    """This program serves no inbox: name one in STRANGLER_EVENTS['CONSUMER']."""


@dataclass(frozen=True, kw_only=True)
class Received:
    """What became of a message."""

    kind: Literal["new", "duplicate", "parked"]
    envelope: Envelope | None = None


def alias() -> str:
    """Return the database that holds the inbox."""
    return router.db_for_write(InboxEvent)


def consumer() -> str:
    """Return the name of this program's inbox; raise NoConsumer if it has none."""
    name = conf().consumer
    if not name:
        raise NoConsumer
    return name


def receive(raw: object) -> Received:
    """Take a message in. Committed when this returns, so that it may be acknowledged then."""
    name = consumer()
    try:
        envelope = envelopes.read(raw)
    except Unreadable as error:
        return _park_garbage(name, raw, str(error))
    using = alias()
    with transaction.atomic(using=using):
        cursor = _locked_cursor(name, envelope, using)
        if _seen(name, envelope, cursor, using):
            return Received(kind="duplicate", envelope=envelope)
        event = _store(name, envelope, using)
        if envelope.sequence <= cursor.through:
            _release(event, using)  # those after it went ahead: they were told not to wait for it
        else:
            _release_in_order(cursor, using)
            event.refresh_from_db(using=using, fields=("state",))
    return Received(kind="parked" if event.state == State.PARKED else "new", envelope=envelope)


def release_again(event: InboxEvent) -> None:
    """Look at a parked event once more, perhaps by a newer program; hand it to its handlers if it can be read now."""
    using = alias()
    with transaction.atomic(using=using):
        event.runs.using(using).filter(state=HandlerRun.State.PARKED).delete()
        _release(event, using)


def give_up(event: InboxEvent, why: str) -> None:
    """Let nobody wait any more for an event that cannot be read; its row stays, with the reason."""
    parked = InboxEvent.objects.using(alias()).filter(pk=event.pk, state=State.PARKED)
    parked.update(state=State.RELEASED, reason=f"Given up: {why}")


def purge(before: datetime) -> int:
    """Forget events that are older and over; return how many. What is parked or waits stays."""
    unfinished = HandlerRun.objects.using(alias()).exclude(state__in=runs.OVER)
    old = InboxEvent.objects.using(alias()).filter(received_at__lt=before, state=State.RELEASED)
    return old.exclude(runs__in=unfinished).delete()[1].get(InboxEvent._meta.label, 0)


def _locked_cursor(name: str, envelope: Envelope, using: str) -> Cursor:
    """Return the aggregate's cursor, locked: what arrives at the same time waits its turn."""
    place = {"consumer": name, "aggregate": envelope.aggregate, "key": envelope.key}
    rows = Cursor.objects.using(using)
    while True:
        found = rows.select_for_update().filter(**place).first()
        if found is not None:
            return found
        try:
            with transaction.atomic(using=using):
                rows.create(**place)
        except IntegrityError:
            continue


def _seen(name: str, envelope: Envelope, cursor: Cursor, using: str) -> bool:
    """Return whether the event was here before; one too old to be remembered was."""
    again = InboxEvent.objects.using(using).filter(consumer=name, event_id=envelope.id)
    if again.update(duplicates=F("duplicates") + 1):
        return True
    forgotten = timezone.now() - timedelta(days=conf().keep_days)
    return envelope.sequence <= cursor.through and envelope.occurred_at < forgotten


def _store(name: str, envelope: Envelope, using: str) -> InboxEvent:
    return InboxEvent.objects.using(using).create(
        event_id=envelope.id,
        consumer=name,
        stream=envelope.stream,
        type=envelope.type,
        version=envelope.version,
        aggregate=envelope.aggregate,
        key=envelope.key,
        sequence=envelope.sequence,
        after=envelope.after.get(name, envelope.sequence - 1),
        payload=envelope.payload,
        occurred_at=envelope.occurred_at,
        received_at=timezone.now(),
    )


def _release_in_order(cursor: Cursor, using: str) -> None:
    """Hand on what has arrived, as far as there is no gap."""
    waiting = InboxEvent.objects.using(using).filter(
        consumer=cursor.consumer,
        aggregate=cursor.aggregate,
        key=cursor.key,
        state=State.WAITING,
        sequence__gt=cursor.through,
    )
    for event in waiting.order_by("sequence"):
        if event.after > cursor.through:
            break
        _release(event, using)
        cursor.through = event.sequence
    Cursor.objects.using(using).filter(pk=cursor.pk).update(through=cursor.through)


def _release(event: InboxEvent, using: str) -> None:
    """Write down what the handlers have to do; an event that cannot be read is parked, and so is their work on it."""
    try:
        decode(event.type, event.version, event.payload)
        event.state, event.reason = State.RELEASED, ""
    except Unreadable as error:
        event.state, event.reason = State.PARKED, str(error)
        logger.warning("%s %s is parked: %s", event.type, event.event_id, error)
    InboxEvent.objects.using(using).filter(pk=event.pk).update(state=event.state, reason=event.reason)
    runs.create(event, using)


def _park_garbage(name: str, raw: object, reason: str) -> Received:
    """Keep a message that is no event, once however often it comes."""
    text = json.dumps(raw, cls=DjangoJSONEncoder, default=repr, sort_keys=True) if _is_json(raw) else repr(raw)
    using, now = alias(), timezone.now()
    row: dict[str, Any] = {"payload": {"raw": text}, "occurred_at": now, "received_at": now, "reason": reason}
    event_id = uuid.uuid5(uuid.NAMESPACE_OID, text)
    logger.warning("A message is parked: %s", reason)
    event, created = InboxEvent.objects.using(using).get_or_create(
        consumer=name, event_id=event_id, defaults={**row, "state": State.PARKED}
    )
    if not created:
        InboxEvent.objects.using(using).filter(pk=event.pk).update(duplicates=F("duplicates") + 1)
    return Received(kind="parked" if created else "duplicate")


def _is_json(raw: object) -> bool:
    try:
        json.dumps(raw)
    except (TypeError, ValueError):
        return False
    return True
