"""The shop's Celery application; its settings are Django's, with the prefix CELERY_."""

import os
from pathlib import Path
from typing import Any

from celery import Celery

from migrations_plan.sync import embedded_broker

BROKER_FOLDERS = ("data_folder_in", "data_folder_out", "control_folder")
"""Where the embedded broker, which is a directory, keeps messages and queue bindings."""

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "legacy_shop.settings")

embedded_broker.register()
app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.on_after_configure.connect
def create_broker_folders(sender: Celery, **kwargs: Any) -> None:
    """Make the folders of the embedded broker; other brokers name none."""
    for option in BROKER_FOLDERS:
        folder = sender.conf.broker_transport_options.get(option)
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
