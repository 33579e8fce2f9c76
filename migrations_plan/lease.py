"""Show that the command which moves a service is alive, for as long as it is."""

import logging
import os
import socket
import threading
import uuid
from datetime import timedelta
from types import TracebackType

from django.db import DatabaseError, connections
from django.utils import timezone

from migrations_plan.recorder import Recorder

LEASE = timedelta(seconds=10)
"""How long a silent command counts as alive; killed ones are picked up after that."""
RENEWALS = 4
"""How often a living command renews its lease within one lease."""

logger = logging.getLogger(__name__)


def new_holder(actor: str) -> str:
    """Return a name for this one command that nobody else has and people understand."""
    return f"{actor} on {socket.gethostname()}, process {os.getpid()} ({uuid.uuid4().hex[:8]})"


class Heartbeat:
    """Renew a lease from a thread with a connection of its own, while an operation runs."""

    def __init__(self, recorder: Recorder, service: str, holder: str, lease: timedelta) -> None:
        self._recorder = recorder
        self._service = service
        self._holder = holder
        self._lease = lease
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease of {service}", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        try:
            while not self._ended.wait(self._lease.total_seconds() / RENEWALS):
                try:
                    self._recorder.renew(self._service, self._holder, timezone.now() + self._lease)
                except DatabaseError:
                    logger.warning("The lease on %s could not be renewed; trying again.", self._service, exc_info=True)
        finally:
            connections.close_all()
