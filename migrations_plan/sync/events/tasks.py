"""What Celery does for events. A task is a hint: losing one, or getting one twice, changes nothing but the delay."""

import logging
import uuid
from datetime import timedelta
from typing import Any

from celery import shared_task
from django.utils import timezone

from migrations_plan.sync.events import inbox, outbox, runs
from migrations_plan.sync.events.broker import ACKNOWLEDGE, RECEIVE, celery_sender
from migrations_plan.sync.events.conf import conf
from migrations_plan.sync.events.envelopes import Envelope
from migrations_plan.sync.events.errors import BrokerAway
from migrations_plan.sync.events.relay import relay as relay_once

logger = logging.getLogger("strangler.events")


@shared_task(name="strangler_events.relay", ignore_result=True)
def relay() -> str:
    """Send what is due; run it every second."""
    return str(relay_once())


@shared_task(name=RECEIVE, ignore_result=True, acks_late=True)
def receive(*message: Any) -> str:
    """Take an event in, acknowledge it, and do what it asks for."""
    received = inbox.receive(message[0] if len(message) == 1 else list(message))
    if received.envelope is not None:
        confirm(received.envelope)
    if received.kind == "new":
        runs.work()
    return received.kind


@shared_task(name=ACKNOWLEDGE, ignore_result=True, acks_late=True)
def acknowledge(event_ids: list[str], consumer: str) -> int:
    """Note that a consumer in another database has received events."""
    return outbox.acknowledge([uuid.UUID(event_id) for event_id in event_ids], consumer)


@shared_task(name="strangler_events.work", ignore_result=True)
def work() -> str:
    """Run the handlers that are due, whoever lost their hint; run it every second."""
    return str(runs.work())


@shared_task(name="strangler_events.purge", ignore_result=True)
def purge() -> str:
    """Forget what is over and old; run it every night."""
    before = timezone.now() - timedelta(days=conf().keep_days)
    return f"forgot {inbox.purge(before)} received and {outbox.purge(before)} published events"


def confirm(envelope: Envelope) -> None:
    """Acknowledge an event to the outbox it came from: in this database, or by a message to another one."""
    settings = conf()
    if outbox.acknowledge([envelope.id], settings.consumer) or envelope.stream == settings.stream:
        return
    try:
        with celery_sender() as sender:
            sender.acknowledge([envelope.id], settings.consumer, envelope.stream)
    except BrokerAway as away:  # it is going to be sent again, and acknowledged then
        logger.warning("%s %s is not acknowledged: %s", envelope.type, envelope.id, away)
