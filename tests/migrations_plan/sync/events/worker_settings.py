"""The shop's settings for a worker of the tests, with queues of its own at the broker."""

import os

from kombu import Queue

from legacy_shop.settings import *  # noqa: F403
from migrations_plan.sync.events.topology import event_queues

NAME = os.environ["EVENTS_NAME"]
TOPICS = ["orders.#"]
STRANGLER_EVENTS = {
    "CONSUMER": NAME,
    "CONSUMERS": {NAME: TOPICS},
    "EXCHANGE": f"{NAME}.events",
    "CELERY_APP": "legacy_shop.celery.app",
    "RESEND_SECONDS": 1,
    "LEASE_SECONDS": 2,
}
CELERY_TASK_DEFAULT_QUEUE = f"{NAME}.tasks"
CELERY_TASK_QUEUES = [Queue(CELERY_TASK_DEFAULT_QUEUE), *event_queues(NAME, TOPICS, f"{NAME}.events")]
CELERY_BEAT_SCHEDULE = {
    name: {"task": f"strangler_events.{name}", "schedule": 0.3, "options": {"expires": 5.0}}
    for name in ("relay", "work")
}
