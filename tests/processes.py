"""Start real processes for tests, wait for them within bounds, and end them by their own ids."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from django.db import connections

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 30.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02
UNTRACED = {"COVERAGE_PROCESS_CONFIG": ""}
"""For processes that need not tell what they cover: those that are killed cannot, and tracing makes all slow."""


class ProcessFailed(AssertionError):
    """A process a test depends on ended early or was not ready in time."""


@dataclass(frozen=True, kw_only=True)
class RunningProcess:
    """A process of our own, in a session of its own so that its workers end with it."""

    process: subprocess.Popen[bytes]
    log: Path
    name: str

    @property
    def pid(self) -> int:
        """Return the id of the process, which is the id of its group as well."""
        return self.process.pid

    def output(self, limit: int = 6000) -> str:
        """Return the end of what the process wrote, for failure messages."""
        return self.log.read_text(errors="replace")[-limit:]

    def suspend(self) -> None:
        """Freeze the process and its workers: connections are accepted by the kernel and never answered."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a suspended process go on."""
        os.killpg(self.pid, signal.SIGCONT)

    def stop(self) -> int:
        """Ask the process to end, force it after a bounded wait, and return its exit code."""
        if self.process.poll() is None:
            self.resume()
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        with suppress(ProcessLookupError):  # workers that outlived it
            os.killpg(self.pid, signal.SIGKILL)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """End the process and its workers at once, as a power cut would."""
        if self.process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.process.wait(STOP_SECONDS)


def free_port() -> int:
    """Return a port of the loopback interface that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def database_url(alias: str = "default") -> str:
    """Return the URL of a database that the tests use, for processes that have to see it."""
    connection = connections[alias]
    given = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{given['NAME']}"
    login = f"{given['USER']}:{given['PASSWORD']}" if given["PASSWORD"] else given["USER"]
    if given["HOST"].startswith("/"):
        return f"postgresql://{login}@/{given['NAME']}?host={given['HOST']}&port={given['PORT']}"
    return f"postgresql://{login}@{given['HOST']}:{given['PORT'] or 5432}/{given['NAME']}"


def wait_until(
    condition: Callable[[], bool], what: str, timeout: float = READY_SECONDS, *, every: float = POLL_SECONDS
) -> None:
    """Wait until ``condition`` holds, and fail naming ``what`` when it does not in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise ProcessFailed(f"{what}: not so after {timeout:g} s.")
        time.sleep(every)


def answers(url: str) -> bool:
    """Return whether ``url`` answers with a status below 400."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def unread(port: int) -> int:
    """Return how many bytes wait at a port of this machine to be read by who listens there (the kernel's table)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    waiting = (row[4].split(":")[1] for row in rows if row[1].endswith(f":{port:04X}") and row[3] in {"01", "08"})
    return max((int(one, 16) for one in waiting), default=0)


@contextmanager
def start_process(
    args: Sequence[str],
    env: Mapping[str, str] | None = None,
    ready_url: str | None = None,
    *,
    timeout: float = READY_SECONDS,
) -> Iterator[RunningProcess]:
    """Run ``args`` until the block ends, from the moment ``ready_url`` answers; ``env`` adds to our environment."""
    with tempfile.TemporaryDirectory(prefix="strangler-process-") as folder:
        log = Path(folder) / "output.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                list(args),
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        running = RunningProcess(process=process, log=log, name=" ".join(args[:6]))
        try:
            if ready_url is not None:
                _wait_ready(running, ready_url, timeout)
            yield running
        finally:
            running.stop()


def gunicorn(application: str, port: int, *, workers: int = 1, threads: int = 4) -> list[str]:
    """Return the arguments that serve ``application`` on ``port`` of the loopback interface."""
    listen = ["--bind", f"127.0.0.1:{port}", "--workers", str(workers), "--threads", str(threads)]
    return [sys.executable, "-m", "gunicorn", application, *listen, "--no-control-socket", "--graceful-timeout", "2"]


def celery_worker(application: str, *options: str) -> list[str]:
    """Return the arguments that run a Celery worker of a name of its own.

    At RabbitMQ, a worker has to wait until no other one of its name is there, in whichever test run.
    """
    named = ("--hostname", f"{uuid.uuid4().hex}@tests", "--without-gossip", "--without-mingle")
    return [sys.executable, "-m", "celery", "-A", application, "worker", "--pool", "threads", *named, *options]


def _wait_ready(running: RunningProcess, url: str, timeout: float) -> None:
    """Wait until ``url`` answers, or fail with what the process wrote."""

    def ready() -> bool:
        code = running.process.poll()
        if code is not None:
            raise ProcessFailed(f"{running.name} ended with {code} before it was ready:\n{running.output()}")
        return answers(url)

    try:
        wait_until(ready, f"{url} answers", timeout)
    except ProcessFailed as error:
        raise ProcessFailed(f"{error}\n{running.name} wrote:\n{running.output()}") from None
