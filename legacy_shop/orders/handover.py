"""Do for the orders service what it has no worker for: go on with what it left unfinished, and hand its events on."""

import logging
from dataclasses import dataclass
from typing import Any

from legacy_shop.orders.service import ServiceAway, ask, has_own_store
from migrations_plan.sync.events import inbox, runs
from migrations_plan.sync.events.conf import conf

logger = logging.getLogger(__name__)

EVENTS = 100


@dataclass(frozen=True, kw_only=True)
class Handed:
    """What was handed on."""

    events: int = 0
    new: int = 0


def resume() -> dict[str, int]:
    """Have the service go on with sagas and payments that were left unfinished; return what it says of them."""
    if not has_own_store():
        return {}
    try:
        said: dict[str, int] = ask("/internal/resume/", {})
    except ServiceAway as away:
        logger.warning("%s", away)
        return {}
    return said


def hand_events_on() -> Handed:
    """Take the service's events into the inbox, until there are none, and have them handled."""
    if not has_own_store():
        return Handed()
    received: list[str] = []
    handed = Handed()
    try:
        while True:
            asked = {"consumer": conf().consumer, "received": received, "limit": EVENTS}
            events: list[dict[str, Any]] = ask("/internal/events/take/", asked)["events"]
            if not events:
                break
            new = sum(inbox.receive(event).kind == "new" for event in events)
            handed = Handed(events=handed.events + len(events), new=handed.new + new)
            received = [event["id"] for event in events]
    except ServiceAway as away:
        logger.warning("%s", away)
    if handed.new:
        runs.work()
    return handed
