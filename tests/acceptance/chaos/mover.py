"""A coordinator as a process of its own: moves buckets to a side, and dies at a swap if it is told to.

``python -m tests.acceptance.chaos.mover extracted 0,1,2 [before|after SWAP]``
"""

import json
import os
import signal
import sys
from dataclasses import asdict
from typing import Any

import django

django.setup()

from migrations_plan.sync.errors import Busy  # noqa: E402 (its models need the apps)
from migrations_plan.sync.handover import moving  # noqa: E402

BUSY = 3
"""The exit code where another coordinator is at it."""


class Dying:
    """A side whose coordinator is killed around one of its swaps, counted over both sides."""

    swaps = 0

    def __init__(self, side: Any, when: str, at: int) -> None:
        self._side, self._when, self._at = side, when, at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._side, name)

    def change(self, *arguments: Any) -> bool:
        """Swap, unless this is where it ends."""
        Dying.swaps += 1
        self._die("before")
        done: bool = self._side.change(*arguments)
        self._die("after")
        return done

    def _die(self, when: str) -> None:
        if when == self._when and Dying.swaps == self._at:
            sys.stdout.write(f"dies {when} swap {self._at}\n")
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: list[str]) -> int:
    """Return 0 if every bucket is where it was to be."""
    to, buckets, *death = arguments
    sides = moving.both_sides("orders")
    if death:
        sides = {name: Dying(side, death[0], int(death[1])) for name, side in sides.items()}
    try:
        moved = moving.move("orders", to, map(int, buckets.split(",")), actor="chaos", between=sides)
    except Busy as busy:
        sys.stdout.write(f"{busy}\n")
        return BUSY
    sys.stdout.write(json.dumps(asdict(moved), default=str) + "\n")
    return 0 if moved.done else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
