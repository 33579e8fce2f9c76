"""Run a saga and die at a moment by SIGKILL: python -m tests.router.sagas.dying FOLDER buy|fail|return POINT."""

import os
import signal
import sys
from pathlib import Path

import django

django.setup()

from router.sagas import points  # noqa: E402
from tests.router.sagas.shelf import Shelf  # noqa: E402


def main(folder: str, what: str, moment: str) -> None:
    """Do it."""
    shelf = Shelf(Path(folder))

    def die(point: str) -> None:
        if point == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    with points.watched(die):
        if what == "return":
            shelf.return_all()
        else:
            shelf.buy(fail=ValueError("no") if what == "fail" else None)


if __name__ == "__main__":
    main(*sys.argv[1:])
