"""Decide which comparisons also ask the side that answered a second time: few, and the same ones each time."""

import threading
import zlib
from collections import Counter

from router.shadow.runner import Job

SCALE = 2**32
WARMING_UP = 10
"""The first comparisons of a route in a process are left alone: cold caches would pass for noise."""


class Sampler:
    """Pick a share of the comparisons of each route, by the request and by how many came before it.

    The path alone would not do: a route with one path would be asked always or never. A plain count would not either:
    traffic with a rhythm would be caught at the same beat each time.
    """

    def __init__(self) -> None:
        self.reset()

    def picks(self, job: Job, share: float) -> bool:
        """Return whether this comparison is one of those."""
        route = (job.service, job.store, job.route)
        with self._lock:
            self._seen[route] += 1
            nth = self._seen[route]
        return (
            nth > WARMING_UP and drawn(f"{job.service} {job.store} {job.route} {job.method} {job.path} {nth}") < share
        )

    def reset(self) -> None:
        """Forget what came before, with the lock, which a thread of a forked child's parent may have held."""
        self._lock = threading.Lock()
        self._seen: Counter[tuple[str, str, str]] = Counter()


def drawn(text: str) -> float:
    """Return a number from 0 up to 1 that a text stands for."""
    mixed = zlib.crc32(text.encode("utf-8", "surrogatepass"))
    mixed = (mixed ^ (mixed >> 15)) * 0x2C1B3C6D % SCALE
    mixed = (mixed ^ (mixed >> 12)) * 0x297A2D39 % SCALE
    return (mixed ^ (mixed >> 15)) / SCALE


sampler = Sampler()
"""That of this process."""
