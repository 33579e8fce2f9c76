"""What all tests share: which database they run on, resources that may be missing, and that nothing is left behind."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kombu
import psutil
import pytest
from django.db import connection, connections

from migrations_plan.testing import let_history_be_flushed
from router import metrics
from router.shadow import applied, pool
from tests import examples, scratch
from tests.flushing import flush_quickly
from tests.measuring import Measuring
from tests.sharing import Sharing, long_ones_first

RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"
REDIS = "redis://127.0.0.1:6379/9"
ACCEPTANCE = Path(__file__).parent / "acceptance"
ELSEWHERE = Path(__file__).parent / "elsewhere"
THREAD_SECONDS = 20.0
"""How long a comparison that a test has left may take to end."""
USES_DATABASE = {"db", "transactional_db", "django_db_setup"}
"""Fixtures that only tests ask for that use the database."""
IS_ELSEWHERE = os.environ.get("DJANGO_SETTINGS_MODULE", "").startswith("tests.elsewhere")
"""Whether the tests run on the project that is unlike the shop; it has tests of its own, and those of tests/core."""


def missing(reason: str) -> None:
    """Skip a test whose resource is not there; where everything has to be there (CI is set), fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and in CI it has to be.")
    pytest.skip(reason)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave the tests of the other project to a run of their own."""
    return True if collection_path == ELSEWHERE and not IS_ELSEWHERE else None


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a second run, on another database, leave out what the first one has shown already."""
    parser.addoption(
        "--database-matters", action="store_true", help="only tests that may come out differently on another database"
    )
    parser.addoption("--measure-marked", action="store_true", help="measure the coverage of tests marked for it only")


def pytest_configure(config: pytest.Config) -> None:
    """Try so many examples; measure coverage in the processes that run tests, if only that of some tests is wanted."""
    examples.load()
    if config.getoption("measure_marked") and hasattr(config, "workerinput"):
        config.pluginmanager.register(Measuring())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests with real processes, and leave out what means nothing on this database."""
    for item in items:
        if ACCEPTANCE in item.path.parents:
            item.add_marker("acceptance")
    meant = [item for item in items if _is_meant(item, repeated=config.getoption("database_matters"))]
    left_out = set(items).difference(meant)
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = meant
    if hasattr(config, "workerinput"):
        long_ones_first(items)


def _is_meant(item: pytest.Item, *, repeated: bool) -> bool:
    """Whether a test means something on this database, and something of its own if it ran on another one before."""
    if item.get_closest_marker("sqlite" if scratch.KIND == "postgres" else "postgres"):
        return False
    if not repeated:
        return True
    uses_database = USES_DATABASE.intersection(item.fixturenames) or item.get_closest_marker("django_db")
    alike = item.get_closest_marker("any_database")
    return not alike and bool(uses_database or item.get_closest_marker("acceptance"))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Sharing:
    """Share the tests out in our own way."""
    return Sharing(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line what was skipped and why."""
    reasons = Counter(str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", []))
    said = "; ".join(f"{count} x {reason.removeprefix('Skipped: ')}" for reason, count in reasons.items())
    terminalreporter.write_line(f"on {scratch.KIND}, skipped: {said or 'nothing'}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Forget what tests have counted, which would be written to the real database now; remove our scratch directory."""
    metrics.reset()
    if scratch.MADE_SCRATCH:
        shutil.rmtree(scratch.SCRATCH, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_running() -> Iterator[None]:
    """End processes that tests have left behind, and say so: they would disturb whatever runs next."""
    before = {process.pid for process in _children()}
    yield
    left = [process for process in _children() if process.pid not in before]
    names = [f"{process.pid}: {' '.join(process.cmdline())[:120]}" for process in left]
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=5)
    assert not names, f"Tests have left processes running, ended now: {names}"


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Drop the tables of waffle's own flag model, which is swapped out here, and let tables be emptied quickly.

    waffle's migrations make them all the same. No model stands for them, so Django does not empty them between tests,
    and on PostgreSQL their foreign keys keep it from emptying the table of users.
    """
    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            for table in ("waffle_flag_groups", "waffle_flag_users", "waffle_flag"):
                cursor.execute(f"DROP TABLE IF EXISTS {table}")
        for each in connections.all():
            flush_quickly(each)


@pytest.fixture(autouse=True)
def comparisons_end_with_the_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """End what a test has left to the shadow's threads, before its rows go: they would store it for the next one.

    In a test without real transactions they would store it whatever comes after, so there none may be started. The
    fields that the test has left out, which processes remember for seconds, are compared again.
    """
    transactional = _torn_down_before_the_database(request)
    yield
    started = pool.threads()
    pool.reset()
    applied.forget()
    for thread in started:
        thread.join(THREAD_SECONDS)
    assert not any(thread.is_alive() for thread in started), "A comparison does not end."
    uses_database = request.node.get_closest_marker("django_db") and not transactional
    assert not (started and uses_database), "Comparisons are made here: mark the test django_db(transaction=True)."


@pytest.fixture(autouse=True)
def history_can_be_flushed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let Django empty the tables after a test with real transactions, the append-only ones included."""
    transactional = _torn_down_before_the_database(request)
    yield
    if transactional:
        let_history_be_flushed()


def _torn_down_before_the_database(request: pytest.FixtureRequest) -> bool:
    """Let a test's real database be set up before the fixture that asks; return whether it has one."""
    marker = request.node.get_closest_marker("django_db")
    transactional = bool(marker and marker.kwargs.get("transaction")) or "transactional_db" in request.fixturenames
    if transactional:
        request.getfixturevalue("_django_db_helper")
    return transactional


@pytest.fixture(scope="session")
def rabbitmq_url() -> str:
    """Return the address of a RabbitMQ on this machine."""
    return _broker("RabbitMQ", RABBITMQ)


@pytest.fixture(scope="session")
def redis_url() -> str:
    """Return the address of a Redis on this machine, and of a database in it that nobody else uses."""
    return _broker("Redis", REDIS)


def _broker(name: str, url: str) -> str:
    try:
        with kombu.Connection(url, connect_timeout=2) as connection:
            connection.ensure_connection(max_retries=1, timeout=3)
    except (OSError, kombu.exceptions.OperationalError) as error:
        missing(f"no {name} at {url} ({error})")
    return url


def _children() -> list[psutil.Process]:
    """Return our running child processes and theirs, but for the ones that Python starts for itself."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE and "multiprocessing" not in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found
