"""What a pool has to do: comparisons to be made now, and others once their moment has come; no more than fit."""

import heapq
import threading
from collections import deque
from itertools import count
from time import monotonic

from router.shadow.runner import Job


class Budget:
    """How many bytes all comparisons of a process may hold, from the first that is remembered to the verdict."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self.held = 0

    def take(self, length: int) -> bool:
        """Hold so many bytes more; return False, and hold nothing more, if that is too much."""
        with self._lock:
            if self.held + length > self._limit:
                return False
            self.held += length
            return True

    def give(self, length: int) -> None:
        """Hold so many bytes less."""
        with self._lock:
            self.held -= length


class Waiting:
    """Two bounded queues that the threads of a pool share; adding never waits."""

    def __init__(self, room: int, budget: Budget) -> None:
        self.budget = budget
        self._room = room
        self._changed = threading.Condition()
        self._now: deque[Job] = deque()
        self._later: list[tuple[float, int, Job]] = []
        self._order = count()
        self._unfinished = 0
        self._closed = False

    @property
    def full(self) -> bool:
        """Return whether there is no room for a comparison to be made now; a moment later there may be."""
        return len(self._now) >= self._room

    def add(self, job: Job) -> str:
        """Queue a comparison; return why there is no room for it, empty if there is."""
        with self._changed:
            if self._closed:
                return "stopped"
            if len(self._now) >= self._room:
                return "queue_full"
            if not self.budget.take(job.weight):
                return "queue_bytes"
            self._now.append(job)
            self._grew()
        return ""

    def postpone(self, job: Job, due: float) -> str:
        """Keep a comparison until a moment of the monotonic clock; return why there is no room, empty if there is."""
        with self._changed:
            if self._closed:
                return "stopped"
            if len(self._later) >= self._room:
                return "queue_full"
            if not self.budget.take(job.weight):
                return "queue_bytes"
            heapq.heappush(self._later, (due, next(self._order), job))
            self._grew()
        return ""

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

    def done(self, job: Job) -> None:
        """Note that a comparison that was taken is dealt with."""
        self.budget.give(job.weight)
        with self._changed:
            self._unfinished -= 1
            self._changed.notify_all()

    def drain(self, timeout: float) -> bool:
        """Wait until everything is done, what was postponed included; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._unfinished, timeout)

    def close(self) -> list[Job]:
        """Let those who take come to an end after what they are at; return what is not going to be done."""
        with self._changed:
            self._closed = True
            left = [*self._now, *(job for _, _, job in self._later)]
            self._now.clear()
            self._later.clear()
            self._unfinished -= len(left)
            self._changed.notify_all()
        for job in left:
            self.budget.give(job.weight)
        return left

    def _grew(self) -> None:
        self._unfinished += 1
        self._changed.notify()
