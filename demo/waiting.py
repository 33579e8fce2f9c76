"""Wait for conditions, never for time alone, and never without an end."""

import time
from collections.abc import Callable


class WaitedTooLong(Exception):
    """A condition did not come true in time."""


def until(condition: Callable[[], bool], *, seconds: float, what: str, pause: float = 0.05) -> float:
    """Return how long it took until ``condition`` held; raise WaitedTooLong after ``seconds``."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            raise WaitedTooLong(f"Waited {seconds:.0f} s in vain for this: {what}.")
        time.sleep(pause)
    return time.monotonic() - begun


class Deadline:
    """The moment at which the whole run has failed, whatever it is doing then."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.ends = time.monotonic() + seconds

    def left(self, at_most: float = float("inf")) -> float:
        """Return the seconds left, at most ``at_most``; raise WaitedTooLong when there are none."""
        left = self.ends - time.monotonic()
        if left <= 0:
            raise WaitedTooLong(
                f"The run took longer than its {self.seconds:.0f} s. On a busy machine give it more: --minutes."
            )
        return min(left, at_most)
