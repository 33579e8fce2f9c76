"""Two operators at once, and commands that are killed: real threads, real processes, the real database."""

import sys
import threading
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connections
from django.utils import timezone

from migrations_plan.errors import InProgress, StateChanged
from migrations_plan.models import HistoryEntry, ServiceState
from migrations_plan.recorder import Recorder
from migrations_plan.state import Change, Kind
from tests.migrations_plan.contender import LEASE, hanging_plan
from tests.migrations_plan.fakes import ALICE, executor, in_force, small_plan
from tests.processes import database_url, start_process, wait_until

pytestmark = pytest.mark.django_db(transaction=True)
START = small_plan().start.envelope


def contender(what: str, folder: Path, name: str) -> tuple[list[str], dict[str, str]]:
    """Return the arguments and the environment of another process on the test's database."""
    arguments = [sys.executable, "-m", "tests.migrations_plan.contender", what, str(folder), name]
    return arguments, {"SHOP_DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "legacy_shop.settings"}


@pytest.mark.parametrize("rows_before", [0, 1])
def test_of_many_threads_with_the_same_version_one_wins(rows_before: int) -> None:
    recorder = Recorder()
    for _ in range(rows_before):
        recorder.change(recorder.state("things", START), Change(kind=Kind.PAUSED, actor="setup"), paused=True)
    state = recorder.state("things", START)
    barrier = threading.Barrier(6)
    won: list[str] = []
    lost: list[str] = []

    def operator(name: str) -> None:
        barrier.wait(timeout=10)
        try:
            recorder.change(state, Change(kind=Kind.RESUMED, actor=name), paused=False)
            won.append(name)
        except StateChanged as error:
            lost.append(str(error))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=operator, args=(f"operator {number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(won) == 1
    assert len(lost) == 5
    assert all(f"{won[0]} changed things at" in message for message in lost)
    assert ServiceState.objects.get().version == rows_before + 1
    assert HistoryEntry.objects.count() == rows_before + 1


def test_of_many_processes_with_the_same_version_one_wins(tmp_path: Path) -> None:
    names = ["ann", "ben", "cleo"]
    with ExitStack() as stack:
        running = [stack.enter_context(start_process(*contender("race", tmp_path, name))) for name in names]
        wait_until(lambda: all((tmp_path / f"{name}.ready").exists() for name in names), "everybody has read the state")
        (tmp_path / "go").touch()
        codes = [process.process.wait(30) for process in running]
        told = [process.output() for process in running]
    assert sorted(codes) == [0, 1, 1], told
    winner = names[codes.index(0)]
    assert all(f"{winner} changed things at" in text for code, text in zip(codes, told, strict=True) if code)
    assert [entry.actor for entry in HistoryEntry.objects.all()] == [winner]


@pytest.mark.parametrize("then", ["advance", "rollback"])
@pytest.mark.parametrize("direction", ["forwards", "backwards"])
def test_a_command_killed_in_the_middle_of_a_step_is_picked_up(tmp_path: Path, direction: str, then: str) -> None:
    plan = hanging_plan(tmp_path)
    mover = executor(plan, lease=LEASE)
    if direction == "backwards":
        mover.advance("go@50", ALICE)
    with start_process(*contender("block", tmp_path, direction)) as process:
        wait_until((tmp_path / "hanging").exists, f"the operation hangs {process.output()}")
        version = mover.state().version
        with pytest.raises(InProgress, match=r"the one to be killed on .* is moving things"):
            getattr(mover, then)(None, ALICE)
        assert mover.state().version == version
        process.kill()
    # Nobody renews the lease any more; let it end sooner than the five seconds it has.
    ServiceState.objects.update(lease_until=timezone.now() + timedelta(seconds=0.3))
    state = mover.state()
    assert (state.moving, state.direction, bool(state.holder)) == (True, direction, True)
    ran = getattr(mover, then)(None, ALICE)
    expected = plan.find("go@50" if then == "advance" else "monolith")
    assert ran.after == expected.name
    assert in_force(plan) == expected.envelope
    assert (tmp_path / "made").exists() == (then == "advance")
    state = mover.state()
    assert (state.step, state.moving, state.holder, state.operations_done) == (expected.name, False, "", 0)
    assert HistoryEntry.objects.filter(actor="alice", kind="picked up").count() == 1
