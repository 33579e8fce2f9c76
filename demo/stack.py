"""Start, kill, restart and end the demo's processes, each in a process group of its own."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import requests

from demo.site import HOST, ROOT, Site
from demo.waiting import WaitedTooLong, until

KEEP_ALIVE = "75"
"""Seconds a server keeps an idle connection: longer than any pool in front of it does."""
READY_SECONDS = 40.0
TAIL_LINES = 25
SYNC_THREADS = 4
"""Two are busy with the relay nearly all the time, one with a backfill or a comparison, one looks after them."""
OWN_STORE = {"DJANGO_SETTINGS_MODULE": "extracted.orders.settings", "ORDERS_STORE": "own", "ORDERS_FAULTS": "0"}
"""What makes a process one of the orders service on data of its own; it is never broken on purpose but killed."""
SUPERVISOR_PAUSE = 2.0
"""Seconds between two starts of a process that keeps ending."""


class StackError(Exception):
    """A process of the demo could not be started or did not stay up."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """One process: how to start it, and how to see that it is ready."""

    name: str
    command: tuple[str, ...]
    extra: dict[str, str] = field(default_factory=dict)
    health: str | None = None
    """The path that answers below 500 when the process is ready."""
    ready_text: str | None = None
    """What the log says when the process is ready; for processes without a port."""


def gunicorn(application: str, port: int, *, workers: int, threads: int) -> tuple[str, ...]:
    """Return the command line of a gunicorn with threads on a port of this machine only."""
    return (
        *(sys.executable, "-m", "gunicorn", application, "--bind", f"{HOST}:{port}"),
        *("--worker-class", "gthread", "--workers", str(workers), "--threads", str(threads)),
        *("--keep-alive", KEEP_ALIVE, "--timeout", "60", "--graceful-timeout", "3"),
        *("--no-control-socket", "--log-level", "warning"),
    )


def celery(name: str, queues: str, *more: str, threads: int) -> tuple[str, ...]:
    """Return the command line of a worker that takes some queues."""
    return (
        *(sys.executable, "-m", "celery", "-A", "legacy_shop.celery", "worker", "--hostname", f"{name}@%h"),
        *("--queues", queues, "--pool", "threads", "--concurrency", str(threads), "--loglevel", "info", *more),
    )


def programs(site: Site) -> tuple[Program, ...]:
    """Return everything the demo runs, in the order it has to come up."""
    ports = site.ports
    schedule = ("--beat", "--schedule", str(site.directory / "celerybeat-schedule"))
    provider = (sys.executable, "-m", "demo.provider", "--port", str(ports["provider"]), "--ledger", str(site.ledger))
    return (
        Program(name="provider", command=provider, health="/health"),
        Program(
            name="shop-internal",
            command=gunicorn("legacy_shop.wsgi:application", ports["shop-internal"], workers=1, threads=8),
            extra={"SHOP_URLCONF": "legacy_shop.urls_internal"},
            health="/health/",
        ),
        Program(
            name="orders",
            command=gunicorn("extracted.orders.wsgi:application", ports["orders"], workers=1, threads=16),
            extra={"DJANGO_SETTINGS_MODULE": "extracted.orders.settings"},
            health="/health/",
        ),
        Program(
            name="orders-own",
            command=gunicorn("extracted.orders.wsgi:application", ports["orders-own"], workers=1, threads=8),
            extra=OWN_STORE,
            health="/health/ready/",
        ),
        Program(
            name="shop",
            command=gunicorn("legacy_shop.wsgi:application", ports["shop"], workers=2, threads=12),
            health="/api/products/",
        ),
        Program(
            name="celery",
            command=celery("main", "celery,events.shop", *schedule, threads=3),
            ready_text="ready.",
        ),
        Program(name="celery-sync", command=celery("sync", "sync", threads=SYNC_THREADS), ready_text="ready."),
    )


@dataclass
class Running:
    """A started program: its process, its log, and whether it ended because we wanted it to."""

    program: Program
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    log_start: int
    ended_by_us: bool = False


class Stack:
    """All processes of one site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.programs = {program.name: program for program in programs(site)}
        self.running: dict[str, Running] = {}
        self._supervised: dict[str, list[float]] = {}

    def start_all(self) -> None:
        """Start every program, then wait until each is ready."""
        for name in self.programs:
            self.start(name)
        for name in self.programs:
            self.wait_ready(name)

    def start(self, name: str) -> None:
        """Start the program called ``name``; its output goes to its own log file."""
        program = self.programs[name]
        log = self.log_path(name).open("ab")
        process = subprocess.Popen(
            program.command,
            cwd=ROOT,
            env={**self.site.environment(), **program.extra},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.running[name] = Running(program=program, process=process, log=log, log_start=log.tell())

    def wait_ready(self, name: str, seconds: float = READY_SECONDS) -> float:
        """Return the seconds until ``name`` was ready; raise StackError with the end of its log otherwise."""
        running = self.running[name]

        def ready() -> bool:
            code = running.process.poll()
            if code is not None:
                raise StackError(f"{name} ended with exit code {code} instead of starting.\n{self.tail(name)}")
            return self._answers(running)

        try:
            return until(ready, seconds=seconds, what=f"{name} is ready")
        except WaitedTooLong as error:
            raise StackError(f"{error}\n{self.tail(name)}") from error

    def kill(self, name: str) -> None:
        """End ``name`` and its workers with SIGKILL, as a crash would: nothing is cleaned up."""
        running = self.running[name]
        running.ended_by_us = True
        self._signal(running, signal.SIGKILL)
        running.process.wait(10)

    def restart(self, name: str) -> float:
        """Start ``name`` again after a kill; return the seconds until it was ready."""
        self.running[name].log.close()
        self.start(name)
        return self.wait_ready(name)

    @contextmanager
    def supervised(self, name: str) -> Iterator[list[float]]:
        """Start ``name`` again whenever it ends by itself, as a supervisor does; give the times at which that was."""
        starts = self._supervised[name] = []

        def ready() -> bool:
            self.check_alive()
            return self.running[name].process.poll() is None and self._answers(self.running[name])

        try:
            yield starts
            until(ready, seconds=READY_SECONDS, what=f"{name} is ready again")
        finally:
            del self._supervised[name]

    def stop_all(self, patience: float = 6.0) -> None:
        """End every process we started, politely first; nothing of ours is left afterwards."""
        alive = [running for running in reversed(self.running.values()) if running.process.poll() is None]
        for running in alive:
            running.ended_by_us = True
            self._signal(running, signal.SIGTERM)
        deadline = time.monotonic() + patience
        for running in alive:
            try:
                running.process.wait(max(0.05, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                continue  # the SIGKILL below is for this one
        for running in self.running.values():
            self._signal(running, signal.SIGKILL)  # the whole group: also workers whose parent has ended
            running.process.wait(10)
            running.log.close()

    def check_alive(self) -> None:
        """Raise StackError for a process that ended although nobody asked it to; a supervised one is started again."""
        for name, starts in self._supervised.items():
            ended = self.running[name].process.poll() is not None
            if ended and (not starts or time.monotonic() - starts[-1] > SUPERVISOR_PAUSE):
                self._signal(self.running[name], signal.SIGKILL)  # what its group has left behind
                self.running[name].log.close()
                self.start(name)
                starts.append(time.monotonic())
        for name, running in self.running.items():
            code = running.process.poll()
            if code is not None and not running.ended_by_us and name not in self._supervised:
                raise StackError(f"{name} ended by itself with exit code {code}.\n{self.tail(name)}")

    def log_path(self, name: str) -> Path:
        """Return the file that ``name`` writes its output to."""
        return self.site.directory / f"{name}.log"

    def tail(self, name: str) -> str:
        """Return the last lines of the log of ``name``, for an error message."""
        lines = self.log_path(name).read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join([f"--- the end of {self.log_path(name)}:", *lines])

    def _answers(self, running: Running) -> bool:
        program = running.program
        if program.ready_text is not None:
            written = self.log_path(program.name).read_bytes()[running.log_start :]
            return program.ready_text.encode() in written
        with requests.Session() as session:
            session.trust_env = False
            try:
                return session.get(f"{self.site.url(program.name)}{program.health}", timeout=2).status_code < 500
            except requests.RequestException:
                return False

    @staticmethod
    def _signal(running: Running, number: signal.Signals) -> None:
        """Signal the process group that only this program is in."""
        try:
            os.killpg(running.process.pid, number)
        except ProcessLookupError:
            return  # nobody of the group is left, which is what every caller wants


def check_ports(ports: dict[str, int]) -> None:
    """Raise StackError if a port is taken, naming it and the way out."""
    for name, port in ports.items():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                raise StackError(
                    f"Port {port} on {HOST}, wanted for {name}, cannot be had ({error.strerror}). End what uses it, "
                    f"perhaps another demo, or take other ports: python -m demo --port-base {min(ports.values()) + 100}"
                ) from error


@contextmanager
def fresh_directory(directory: Path) -> Iterator[Path]:
    """Empty ``directory`` and hold it for this run; raise StackError if another run holds it."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    lock_path = directory.with_name(directory.name + ".lock")
    with lock_path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StackError(
                f"Another demo is using {directory}. End it first, or give this one a place of its own: --port-base."
            ) from error
        if directory.exists():
            shutil.rmtree(directory)
        directory.mkdir()
        yield directory


@contextmanager
def running_stack(site: Site) -> Iterator[Stack]:
    """Give a stack whose processes are ended however the block is left: done, error, Ctrl-C or SIGTERM."""
    stack = Stack(site)

    def interrupt(number: int, _frame: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield stack
    finally:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave processes behind
        stack.stop_all()
        signal.signal(signal.SIGINT, before)
        for number, handler in previous.items():
            signal.signal(number, handler)


def run_quietly(
    site: Site, command: Sequence[str], *, log: Path, seconds: float, extra: Mapping[str, str] | None = None
) -> None:
    """Run a set-up command to its end; raise StackError with the end of its output if it fails."""
    environment = {**site.environment(), **(extra or {})}
    with log.open("ab") as sink:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
        )
        try:
            code = process.wait(seconds)
        except BaseException as error:
            process.kill()
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise StackError(f"{' '.join(command[1:])} was not done after {seconds:.0f} s; see {log}.") from error
            raise
    if code != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
        raise StackError(f"{' '.join(command[1:])} failed with exit code {code}:\n{tail}")
