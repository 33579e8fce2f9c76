"""The shop's own Celery application on a queue of the test's own, with a beat that settles and does nothing else."""

import os

from kombu import Queue

from legacy_shop.celery import app

SWEEP_SECONDS = 0.5

app.conf.task_default_queue = os.environ.get("SETTLER_QUEUE", "settler")
app.conf.task_queues = [Queue(app.conf.task_default_queue)]
sweep = app.conf.beat_schedule["settle open payments"]
app.conf.beat_schedule = {"settle open payments": {**sweep, "schedule": SWEEP_SECONDS}}
