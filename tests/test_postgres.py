"""Where the tests' PostgreSQL comes from."""

import runpy
from pathlib import Path
from typing import Any

import pytest
from coverage import Coverage

import tests.__main__
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


class Runs:
    """What is started in the place of pytest, and which of it fails."""

    def __init__(self, failing: str = "") -> None:
        self.names: list[str] = []
        self.failing = failing

    def __call__(self, name: str, *given: Any) -> int:
        self.names.append(name)
        return int(name == self.failing)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of the PostgreSQL that is wanted and is not there."""
    address = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres"
    monkeypatch.setenv("TEST_POSTGRES_URL", address)
    monkeypatch.delenv("CI", raising=False)
    return address


def test_in_ci_a_missing_server_is_a_failure(nowhere: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    runs = Runs()
    monkeypatch.setattr(tests.__main__, "run", runs)
    monkeypatch.setattr(tests.__main__, "hold_to_the_floor", lambda folder: 0)
    assert tests.__main__.main([]) == 0
    monkeypatch.setenv("CI", "1")
    assert tests.__main__.main([]) == 1
    assert runs.names == ["SQLite", "SQLite, another project"] * 2
    assert f"skipped: every test on PostgreSQL, because TEST_POSTGRES_URL={nowhere}: " in capsys.readouterr().out


@pytest.mark.parametrize("failing", ["SQLite", "SQLite, another project"])
def test_one_run_that_fails_is_enough(nowhere: str, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    runs = Runs(failing)
    monkeypatch.setattr(tests.__main__, "run", runs)
    monkeypatch.setattr(tests.__main__, "hold_to_the_floor", lambda folder: 0)
    assert tests.__main__.main([]) == 1
    assert len(runs.names) == 2


@pytest.mark.parametrize("covered", [0, 2])
def test_too_little_coverage_is_a_failure(nowhere: str, monkeypatch: pytest.MonkeyPatch, covered: int) -> None:
    monkeypatch.setattr(tests.__main__, "run", Runs())
    monkeypatch.setattr(tests.__main__, "hold_to_the_floor", lambda folder: covered)
    assert tests.__main__.main(["--coverage"]) == covered


@pytest.mark.parametrize(("lines", "enough"), [("pass", True), ("def never():\n" + "    y = 1\n" * 99, False)])
def test_what_all_runs_cover_is_held_to_the_floor(tmp_path: Path, lines: str, enough: bool) -> None:
    program, settings = tmp_path / "program.py", tmp_path / "rc"
    program.write_text(f"x = 1\n{lines}\n")
    settings.write_text("[run]\n")
    for number in range(2):
        measured = Coverage(data_file=tmp_path / f"coverage.{number}", config_file=settings, data_suffix=not number)
        with measured.collect():
            runpy.run_path(str(program))
        measured.save()
    assert (tests.__main__.hold_to_the_floor(tmp_path) == 0) is enough
