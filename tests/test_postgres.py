"""Where the tests' PostgreSQL comes from."""

import os
import subprocess
import sys

import pytest

from tests.postgres import OURS, from_wheel, is_local, unusable
from tests.processes import free_port


def test_server_that_is_not_there_is_unusable() -> None:
    assert "refused" in unusable(f"postgresql://postgres@127.0.0.1:{free_port()}/postgres")


@pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR is not set")
def test_server_from_the_wheel_runs_for_the_length_of_the_block() -> None:
    with from_wheel() as server:
        assert unusable(server.url) == ""
        assert is_local(server.url)
    assert "refused" in unusable(server.url)


def test_server_elsewhere_is_not_cleaned_up() -> None:
    assert not is_local("postgresql://postgres@db.example.com/postgres")


@pytest.mark.parametrize(
    ("name", "ours"),
    [("test_strangler_123", True), ("test_strangler_123_gw1", True), ("strangler", False), ("test_strangler_x", False)],
)
def test_names_of_leftovers(name: str, ours: bool) -> None:
    assert bool(OURS.fullmatch(name)) is ours


def test_in_ci_a_missing_server_is_a_failure() -> None:
    nowhere = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres"
    environment = {**os.environ, "CI": "1", "TEST_POSTGRES_URL": nowhere}
    command = [sys.executable, "-m", "tests", "tests/test_postgres.py::test_server_elsewhere_is_not_cleaned_up"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert "skipped: every test on PostgreSQL, because TEST_POSTGRES_URL=" in done.stdout
