"""The shop's settings for a run: queues of its own at a broker that others use, too, and everything in a hurry."""

import os

from kombu import Queue

from legacy_shop.settings import *  # noqa: F403
from legacy_shop.settings import CELERY_BEAT_SCHEDULE, DATABASES, EVENT_TOPICS, STRANGLER_EVENTS, STRANGLER_SYNC
from migrations_plan.sync.events.topology import event_queues
from tests.acceptance.chaos.disk import without_waiting_for_the_disk

SETTLE_SECONDS = 1.0

without_waiting_for_the_disk(DATABASES["default"])

STRANGLER_SYNC = {**STRANGLER_SYNC, "TIMEOUT_SECONDS": 5.0}
for each in ("settle open payments", "go on at the orders service"):
    CELERY_BEAT_SCHEDULE[each] = {**CELERY_BEAT_SCHEDULE[each], "schedule": SETTLE_SECONDS}

if NAME := os.environ.get("CHAOS_QUEUES", ""):
    EXCHANGE = f"{NAME}.events"
    STRANGLER_EVENTS = {
        **STRANGLER_EVENTS,
        "CONSUMER": NAME,
        "CONSUMERS": {NAME: EVENT_TOPICS},
        "EXCHANGE": EXCHANGE,
        "RESEND_SECONDS": 1,
    }
    SYNC_QUEUE = f"{NAME}.sync"
    CELERY_TASK_DEFAULT_QUEUE = f"{NAME}.tasks"
    CELERY_TASK_QUEUES = [
        Queue(CELERY_TASK_DEFAULT_QUEUE),
        Queue(SYNC_QUEUE),
        *event_queues(NAME, EVENT_TOPICS, EXCHANGE),
    ]
    CELERY_TASK_ROUTES = {"strangler_sync.*": {"queue": SYNC_QUEUE}}
