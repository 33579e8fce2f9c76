"""Programs that tests run as processes of their own: ``python -m tests.migrations_plan.contender WHAT FOLDER NAME``."""

import os
import sys
import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import django

LEASE = timedelta(seconds=5)


def race(folder: Path, name: str) -> int:
    """Read the state, say so, and change it once everybody is told to go."""
    from migrations_plan.errors import StateChanged
    from migrations_plan.recorder import Recorder
    from migrations_plan.state import Change, Kind
    from tests.migrations_plan.fakes import small_plan
    from tests.processes import wait_until

    recorder = Recorder()
    state = recorder.state("things", small_plan().start.envelope)
    (folder / f"{name}.ready").touch()
    wait_until((folder / "go").exists, "the test says go")
    try:
        recorder.change(state, Change(kind=Kind.PAUSED, actor=name), paused=not state.paused)
    except StateChanged as lost:
        sys.stdout.write(str(lost))
        return 1
    return 0


def block(folder: Path, direction: str) -> int:
    """Begin a step, and hang in its operation until killed."""
    from migrations_plan.runs import Orders
    from tests.migrations_plan.fakes import executor

    mover = executor(hanging_plan(folder, direction), lease=LEASE)
    orders = Orders(actor="the one to be killed")
    if direction == "forwards":
        mover.advance("go@50", orders)
    else:
        mover.rollback("monolith", orders)
    return 0


def hanging_plan(folder: Path, direction: str = "") -> Any:
    """Return a plan whose operation makes a file, and removes it when undone; it hangs in ``direction`` afterwards."""
    from migrations_plan.operations import Context, Operation, Passage
    from tests.migrations_plan.fakes import small_plan

    @dataclass(frozen=True, kw_only=True)
    class MakeFile(Operation):
        def describe(self, passage: Passage) -> str:
            return "make a file"

        def describe_undo(self, passage: Passage) -> str:
            return "remove the file"

        def forwards(self, context: Context) -> None:
            (folder / "made").touch()
            self.hang("forwards")

        def backwards(self, context: Context) -> None:
            (folder / "made").unlink(missing_ok=True)
            self.hang("backwards")

        @staticmethod
        def hang(where: str) -> None:
            if where == direction:
                (folder / "hanging").touch()
                threading.Event().wait()

    return small_plan(first=(MakeFile(),))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "legacy_shop.settings")
    django.setup()
    sys.exit({"race": race, "block": block}[sys.argv[1]](Path(sys.argv[2]), sys.argv[3]))
