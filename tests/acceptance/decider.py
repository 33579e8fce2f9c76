"""A Celery worker that decides as the middleware does, over the embedded broker, with results in files."""

import os
from pathlib import Path

from celery import Celery

from migrations_plan.sync import embedded_broker

embedded_broker.register()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "legacy_shop.settings")


def application(folder: Path) -> Celery:
    """Return the application that keeps messages and results in a folder."""
    for name in ("messages", "control", "results"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    celery = Celery("decider", broker="embedded://", backend=f"file://{folder / 'results'}", set_as_current=False)
    celery.conf.broker_transport_options = {
        "data_folder_in": str(folder / "messages"),
        "data_folder_out": str(folder / "messages"),
        "control_folder": str(folder / "control"),
        "polling_interval": 0.02,
    }

    @celery.task(name="decide")
    def decide(method: str, path: str, pk: str) -> str:
        """Return the side that answers a user's request."""
        from router import explanation, snapshot  # after Celery has set Django up

        visitor = explanation.Visitor.of(pk)
        return explanation.explain(method, path, snapshot=snapshot.current(), visitor=visitor).decision.side

    return celery


if folder := os.environ.get("DECIDER_FOLDER"):
    app = application(Path(folder))
