"""Make the databases of a run and its processes, and say who is in the shop."""

import json
import os
import select
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from tests.acceptance.chaos.rabbit import Rabbit, rabbit
from tests.acceptance.chaos.site import OWN, ChaosSite, ChaosStack

COMMAND_SECONDS = 90.0
MOVER = ("-m", "tests.acceptance.chaos.mover")


class CommandFailed(AssertionError):
    """A command of a run failed."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody who has an account at the shop."""

    pk: int
    token: str
    bucket: int


@dataclass(frozen=True, kw_only=True)
class House:
    """A run's processes, and what was there when it began."""

    site: ChaosSite
    stack: ChaosStack
    people: tuple[Person, ...]
    delivered: Mapping[int, int]
    rabbit: Rabbit | None = None
    """The broker, if there is one."""

    @cached_property
    def movers(self) -> "Movers":
        """Return what makes coordinators."""
        with self.stack.log_path("command-mover").open("ab") as log:
            process = subprocess.Popen(
                (sys.executable, *MOVER),
                env=self.site.environment(),
                cwd=Path.cwd(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
            )
        return Movers(process)


class Movers:
    """Coordinators, one after the other, each a process of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def begin(self, *arguments: str) -> int:
        """Start one and return its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(arguments)}\n".encode())
        return self._read(COMMAND_SECONDS)

    def end(self, seconds: float) -> int:
        """Wait so long for it to end, and return its exit code."""
        return self._read(seconds)

    def close(self) -> None:
        """Make no more."""
        self._process.kill()
        self._process.communicate(timeout=COMMAND_SECONDS)

    def _read(self, seconds: float) -> int:
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], seconds)
        line = self._process.stdout.readline() if readable else b""
        if not line:
            raise CommandFailed(f"No coordinator has said anything for {seconds:g} s. Its log: {MOVER[-1]}")
        return int(line)


def ran(site: ChaosSite, *command: str, extra: Mapping[str, str] | None = None, may_fail: bool = False) -> str:
    """Run a command of the run's and return what it printed; raise CommandFailed unless it may fail."""
    done = subprocess.run(
        (sys.executable, *command),
        env={**site.environment(), **(extra or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if done.returncode and not may_fail:
        raise CommandFailed(f"{' '.join(command)}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


@contextmanager
def house(
    *, customers: int, postgres_url: str = "", broker_url: str = "", folder: Path | None = None
) -> Iterator[House]:
    """Run everything for the length of the block: on PostgreSQL if an address is given, else on SQLite."""
    name = f"chaos_{os.getpid()}_{uuid.uuid4().hex[:6]}"
    with ExitStack() as opened:
        made = opened.enter_context(tempfile.TemporaryDirectory(prefix="strangler-chaos-", ignore_cleanup_errors=True))
        shop_url, own_url = opened.enter_context(_databases(postgres_url, name))
        directory = folder or Path(made)
        broker = opened.enter_context(rabbit(broker_url, name, directory / "rabbitmq"))
        site = ChaosSite(
            directory=directory,
            shop_url=shop_url,
            own_url=own_url,
            broker_url="" if broker is None else broker.url,
            queues=name,
        )
        scene = _prepare(site, customers)
        if broker is not None:
            broker.wait()
        stack = ChaosStack(site)
        opened.callback(stack.stop_all, patience=2.0)
        stack.start_all()
        ran(site, "manage.py", "sync", "install", "orders")
        ran(site, "manage.py", "sync", "backfill", "orders")
        found = House(
            site=site,
            stack=stack,
            people=tuple(Person(pk=one["id"], token=one["token"], bucket=one["bucket"]) for one in scene["customers"]),
            delivered={int(product): number for product, number in scene["delivered"].items()},
            rabbit=broker,
        )
        opened.callback(found.movers.close)
        yield found


def _prepare(site: ChaosSite, customers: int) -> Any:
    """Make the tables of both databases and fill the shop; return who and what is there."""
    with ThreadPoolExecutor(2) as pool:
        own = pool.submit(ran, site, "-m", "extracted.orders", "migrate", "--verbosity", "0", extra=OWN)
        ran(site, "manage.py", "migrate", "--verbosity", "0")
        scene = json.loads(ran(site, "-m", "tests.acceptance.chaos.stage", str(customers)))
        own.result()
    return scene


@contextmanager
def _databases(postgres_url: str, name: str) -> Iterator[tuple[str, str]]:
    """Give two empty databases of a PostgreSQL for the length of the block; none without an address."""
    if not postgres_url:
        yield "", ""
        return
    names = [f"{name}_shop", f"{name}_own"]
    with psycopg.connect(postgres_url, autocommit=True) as server:
        for each in names:
            server.execute(f'CREATE DATABASE "{each}"')
            server.execute(f'ALTER DATABASE "{each}" SET synchronous_commit = off')
    try:
        yield tuple(urlsplit(postgres_url)._replace(path=f"/{each}").geturl() for each in names)  # type: ignore[misc]
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as server:
            for each in names:
                server.execute(f'DROP DATABASE IF EXISTS "{each}" WITH (FORCE)')
