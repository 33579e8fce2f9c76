"""The shop's own Celery application on a queue of the test's own, with a beat that sweeps and does nothing else.

Every queue of a run gets every hint, so two workers with a queue each get each of them twice.
"""

import os

import django
from django.conf import settings
from kombu import Exchange, Queue

from legacy_shop.celery import app

django.setup()

from migrations_plan.sync import tasks  # noqa: E402 (its models need the apps)

SWEEP_SECONDS = 0.3
TURN_SECONDS = 1.0

tasks.RELAY_SECONDS = tasks.WORK_SECONDS = TURN_SECONDS
settings.STRANGLER_SYNC = {
    **settings.STRANGLER_SYNC,
    "LEASE_SECONDS": 1.5,
    "BATCH_DOCUMENTS": 200,
    "BACKFILL_CHUNK": 40,
    "VERIFY_RANGE": 100,
}

name, exchange = os.environ["SYNCER_QUEUE"], os.environ["SYNCER_EXCHANGE"]
app.conf.task_default_queue = name
app.conf.task_queues = [Queue(name, Exchange(exchange, type=os.environ["SYNCER_TYPE"]), routing_key=name)]
app.conf.task_routes = {}
app.conf.worker_prefetch_multiplier = 1
app.conf.beat_schedule = {"sync": {"task": tasks.sweep.name, "schedule": SWEEP_SECONDS, "options": {"expires": 5.0}}}
