"""The demo's processes: refused politely, killed really, ended always."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.site import Site
from demo.stack import Program, Stack, StackError, check_ports, fresh_directory, run_quietly
from demo.waiting import Deadline, WaitedTooLong, until

# A program with a worker of its own, as servers have: both have to end.
PARENT = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print('ready', child.pid, flush=True)\n"
    "time.sleep(60)\n"
)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_taken_port_is_named_with_the_way_out(taken: int) -> None:
    with pytest.raises(StackError, match=rf"Port {taken} on 127\.0\.0\.1, wanted for shop.*--port-base {taken + 100}"):
        check_ports({"shop": taken})


def test_free_ports_pass(taken: int) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        free = listener.getsockname()[1]
    check_ports({"shop": free})
    with pytest.raises(StackError):
        check_ports({"shop": free, "orders": taken})


def test_demo_refuses_a_taken_port_and_starts_nothing(taken: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--once", "--port-base", str(taken)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"Port {taken}" in done.stderr
    assert "--port-base" in done.stderr
    assert done.stdout == ""


def test_missing_data_file_is_a_usage_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--data", "no-such-file.txt"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "no-such-file.txt" in done.stderr) == (2, True)


def test_directory_is_emptied_and_held(tmp_path: Path) -> None:
    place = tmp_path / "demo"
    place.mkdir()
    (place / "old").touch()
    (tmp_path / "not-ours").touch()
    with fresh_directory(place), pytest.raises(StackError, match="Another demo is using"), fresh_directory(place):
        pass
    assert list(place.iterdir()) == []
    assert (tmp_path / "not-ours").exists()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = Stack(Site(directory=tmp_path))
    made.programs = {
        "parent": Program(name="parent", command=(sys.executable, "-c", PARENT), ready_text="ready"),
        "broken": Program(name="broken", command=(sys.executable, "-c", "raise SystemExit('no luck')"), ready_text="x"),
    }
    yield made
    made.stop_all(patience=1.0)


def worker_of(stack: Stack) -> int:
    return int(stack.log_path("parent").read_text().split()[-1])


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def test_kill_reaches_the_workers_and_restart_brings_them_back(stack: Stack) -> None:
    stack.start("parent")
    stack.wait_ready("parent")
    worker = worker_of(stack)
    stack.kill("parent")
    until(lambda: not is_running(worker), seconds=5, what="the worker is gone")
    stack.check_alive()
    stack.restart("parent")
    assert is_running(worker_of(stack))
    assert worker_of(stack) != worker


def test_stop_ends_everything(stack: Stack) -> None:
    stack.start("parent")
    stack.wait_ready("parent")
    worker = worker_of(stack)
    stack.stop_all(patience=1.0)
    until(lambda: not is_running(worker), seconds=5, what="the worker is gone")
    assert stack.running["parent"].process.poll() is not None


def test_program_that_ends_while_starting_shows_its_log(stack: Stack) -> None:
    stack.start("broken")
    with pytest.raises(StackError, match=r"broken ended with exit code 1(?s:.*)no luck"):
        stack.wait_ready("broken")


def test_program_that_ends_by_itself_is_noticed(stack: Stack) -> None:
    stack.start("broken")
    stack.running["broken"].process.wait(30)
    with pytest.raises(StackError, match="broken ended by itself"):
        stack.check_alive()


def test_supervised_program_is_started_again_until_it_stays(stack: Stack, tmp_path: Path) -> None:
    sulking = tmp_path / "sulking"
    sulking.touch()
    command = f"import os, sys; os.path.exists({str(sulking)!r}) and sys.exit('no'); {PARENT}".replace(
        "; import", "\nimport"
    )
    stack.programs["moody"] = Program(name="moody", command=(sys.executable, "-c", command), ready_text="ready")
    stack.start("moody")
    with stack.supervised("moody") as starts:
        until(lambda: stack.check_alive() or len(starts) >= 2, seconds=20, what="it was started again twice")
        sulking.unlink()
    assert stack.running["moody"].process.poll() is None
    stack.kill("moody")
    stack.running["moody"].ended_by_us = False
    with pytest.raises(StackError, match="moody ended by itself"):
        stack.check_alive()


def test_set_up_command_that_fails_shows_its_output(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "raise SystemExit('cannot')")
    with pytest.raises(StackError, match=r"failed with exit code 1(?s:.*)cannot"):
        run_quietly(Site(directory=tmp_path), command, log=tmp_path / "log", seconds=30)


def test_set_up_command_that_hangs_is_ended(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    with pytest.raises(StackError, match="was not done after"):
        run_quietly(Site(directory=tmp_path), command, log=tmp_path / "log", seconds=0.2)


def test_deadline_fails_loudly() -> None:
    with pytest.raises(WaitedTooLong, match="took longer than its 0 s"):
        Deadline(0).left()


def test_wait_is_bounded() -> None:
    with pytest.raises(WaitedTooLong, match="the moon is full"):
        until(lambda: False, seconds=0.05, what="the moon is full", pause=0.01)
