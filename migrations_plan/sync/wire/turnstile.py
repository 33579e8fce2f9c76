"""So many at once and no more: whoever finds the room full is told to come back instead of waiting inside."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from migrations_plan.sync.wire import refusals


class Turnstile:
    """Counts who is inside, in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    @contextmanager
    def admitted(self, most: int) -> Iterator[None]:
        """Be inside for the length of the block; raise Refusal where ``most`` are already."""
        with self._lock:
            if self._inside >= most:
                raise refusals.later("busy", f"{most} requests are being applied here already.", status=429)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
