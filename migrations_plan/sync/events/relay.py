"""Bring events from the outbox to the broker, again and again until they are acknowledged."""

import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from migrations_plan.sync.events import outbox
from migrations_plan.sync.events.broker import Sender, celery_sender
from migrations_plan.sync.events.conf import conf
from migrations_plan.sync.events.envelopes import Envelope
from migrations_plan.sync.events.errors import BrokerAway
from migrations_plan.sync.events.models import Delivery

logger = logging.getLogger("strangler.events")

BATCH = 200
BUSY = 200
"""A consumer before which more messages wait is slow and has lost nothing: sending them again would make it slower."""


@dataclass(frozen=True, kw_only=True)
class RelayReport:
    """What one pass did."""

    new: int = 0
    """Events that were published since the last pass."""
    sent: int = 0
    """Deliveries handed to the broker, first ones and repeated ones."""
    broker_away: str = ""
    """Why the pass ended early, empty if it did not."""

    def __str__(self) -> str:
        away = f"; {self.broker_away} The rest stays in the outbox." if self.broker_away else ""
        return f"{self.new} new events, {self.sent} deliveries sent{away}"


def relay(*, sender: Callable[[], AbstractContextManager[Sender]] = celery_sender, batch: int = BATCH) -> RelayReport:
    """Send everything that is due; no transaction is open while the broker is spoken to."""
    new = sent = 0
    while fresh := outbox.fan_out():
        new += fresh
    while claimed := outbox.claim_due(batch):
        left = list(claimed)
        try:
            with sender() as open_sender:
                postponed = _repeats_to_the_busy(open_sender, claimed)
                outbox.postpone(postponed)
                left = [delivery for delivery in claimed if delivery not in postponed]
                for group in _by_event(list(left)):
                    _send(open_sender, group)
                    sent += len(group)
                    del left[: len(group)]
        except BrokerAway as away:
            outbox.give_back(left, str(away))
            logger.warning("%s %d deliveries wait in the outbox.", away, len(left))
            return RelayReport(new=new, sent=sent, broker_away=str(away))
        if len(claimed) < batch:
            break
    return RelayReport(new=new, sent=sent)


def _repeats_to_the_busy(sender: Sender, deliveries: list[Delivery]) -> set[Delivery]:
    """Return what was sent before to consumers that have not got through what waits for them."""
    repeats = [delivery for delivery in deliveries if delivery.attempts > 1]
    busy = {name for name in {delivery.consumer for delivery in repeats} if sender.waiting(name) > BUSY}
    return {delivery for delivery in repeats if delivery.consumer in busy}


def _by_event(deliveries: list[Delivery]) -> Iterator[list[Delivery]]:
    for _, group in itertools.groupby(deliveries, key=lambda delivery: delivery.event_id):
        yield list(group)


def _send(sender: Sender, deliveries: list[Delivery]) -> None:
    """Send one event: at first by its topic to all at once, later to those alone that did not acknowledge it."""
    after = {delivery.consumer: delivery.after for delivery in deliveries}
    envelope = Envelope.of(deliveries[0].event, stream=conf().stream, after=after)
    if all(delivery.attempts == 1 for delivery in deliveries):
        sender.send(envelope, None)
        return
    for delivery in deliveries:
        sender.send(envelope, delivery.consumer)
