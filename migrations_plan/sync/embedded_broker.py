"""The broker that needs no server: kombu's folder of files, with messages that appear whole or not at all.

kombu opens a message's file and then fills it. A worker that polls fast enough takes it away in between, reads nothing,
and dies of it. Here the file is filled under another name, which no reader looks at, and renamed.
"""

import os
import time
import uuid
from pathlib import Path
from typing import Any

from kombu import transport
from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.utils.encoding import str_to_bytes
from kombu.utils.json import dumps

SCHEME = "embedded"


class Channel(filesystem.Channel):
    """Put messages by renaming."""

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Add a message to the queue in one step."""
        name = f"{round(time.monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg"
        target = Path(self.data_folder_out) / name
        draft = target.with_name(f"{name}.draft")
        try:
            draft.write_bytes(str_to_bytes(dumps(payload)))
            os.replace(draft, target)
        except OSError as error:
            raise ChannelError(f"Cannot add message {target} to the queue: {error}") from error


class Transport(filesystem.Transport):
    """What ``embedded://`` stands for."""

    Channel = Channel


def register() -> None:
    """Make the scheme known to Celery's transport library."""
    transport.TRANSPORT_ALIASES[SCHEME] = f"{__name__}:Transport"
