"""The shop's own Celery application on a queue of the test's own, with a beat that does not let tests wait."""

import os

from legacy_shop.celery import app

SWEEP_SECONDS = 0.5

app.conf.task_default_queue = os.environ.get("SETTLER_QUEUE", "settler")
for entry in app.conf.beat_schedule.values():
    if entry["task"] == "payments.settle_open_payments":
        entry["schedule"] = SWEEP_SECONDS
