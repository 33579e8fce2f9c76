"""What a pool has to do: comparisons to be made now, and others once their moment has come; no more than fit."""

import heapq
import threading
from collections import deque
from itertools import count
from time import monotonic

from router.shadow.runner import Job


class Waiting:
    """Two bounded queues that the threads of a pool share; adding never waits."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._changed = threading.Condition()
        self._now: deque[Job] = deque()
        self._later: list[tuple[float, int, Job]] = []
        self._order = count()
        self._unfinished = 0
        self._closed = False

    def add(self, job: Job) -> bool:
        """Queue a comparison; return False if there is no room."""
        with self._changed:
            if len(self._now) >= self._room:
                return False
            self._now.append(job)
            self._grew()
        return True

    def postpone(self, job: Job, due: float) -> bool:
        """Keep a comparison until a moment of the monotonic clock; return False if there is no room."""
        with self._changed:
            if len(self._later) >= self._room or self._closed:
                return False
            heapq.heappush(self._later, (due, next(self._order), job))
            self._grew()
        return True

    def take(self) -> Job | None:
        """Wait for the next comparison, one whose moment has come before all others; None once it is over."""
        with self._changed:
            while True:
                left = self._later[0][0] - monotonic() if self._later else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._later)[2]
                if self._now:
                    return self._now.popleft()
                if self._closed:
                    return None
                self._changed.wait(left)

    def done(self) -> None:
        """Note that a comparison that was taken is dealt with."""
        with self._changed:
            self._unfinished -= 1
            self._changed.notify_all()

    def drain(self, timeout: float) -> bool:
        """Wait until everything is done, what was postponed included; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._unfinished, timeout)

    def close(self) -> None:
        """Let those who take come to an end: after what is to be made now, and without what was postponed."""
        with self._changed:
            self._closed = True
            self._unfinished -= len(self._later)
            self._later.clear()
            self._changed.notify_all()

    def _grew(self) -> None:
        self._unfinished += 1
        self._changed.notify()
