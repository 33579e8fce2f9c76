"""Coordinators as processes of their own: each moves buckets to a side, and dies at a swap if it is told to.

Reads lines such as ``["extracted", "0,1,2", "before", "4"]``, forks a coordinator for each, prints its process id and,
in the end, its exit code. It is forked since a shop that is busy with other things takes seconds to import.
"""

import json
import os
import signal
import sys
import traceback
from dataclasses import asdict
from typing import Any, NoReturn

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
            said(f"dies {when} swap {self._at}")
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Fork coordinators until there is nothing more to read."""
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            forked(json.loads(line))
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def forked(arguments: list[str]) -> NoReturn:
    """Be a coordinator, and end with its code."""
    code = 1
    try:
        os.setsid()
        code = moved(*arguments)
    except BaseException:
        said(traceback.format_exc())
    finally:
        os._exit(code)


def moved(to: str, buckets: str, *death: str) -> int:
    """Return 0 if every bucket is where it was to be."""
    sides = moving.both_sides("orders")
    if death:
        sides = {name: Dying(side, death[0], int(death[1])) for name, side in sides.items()}
    try:
        found = moving.move("orders", to, map(int, buckets.split(",")), actor="chaos", between=sides)
    except Busy as busy:
        said(str(busy))
        return BUSY
    said(json.dumps(asdict(found), default=str))
    return 0 if found.done else 1


def said(text: str) -> None:
    """Write a line into the log."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
