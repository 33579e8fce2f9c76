"""What acts about two homes read, under traffic that never stands still."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from demo import homes, separation
from demo.operator import OperatorError, Terminal
from demo.separation import apart, read_verification
from demo.site import Site
from demo.sync_checks import Found, Synced
from demo.waiting import until
from tests.demo.conftest import Pair

VERIFIED = {
    "aggregate": "orders",
    "compared": 600,
    "corrupt": 1,
    "unresolved": 2,
    "findings": [{"key": "3", "kind": "changed", "detail": "owner: version 1, abc; replica: version 1, def"}],
}


def test_a_verification_is_read() -> None:
    assert read_verification(json.dumps(VERIFIED)) == Found(compared=600, kinds={"3": "changed"}, unresolved=2)


@pytest.mark.parametrize("printed", ["", '{"done": false, "error": "Busy", "detail": "somebody else is at it"}'])
def test_a_verification_that_was_refused_is_not_clean(printed: str) -> None:
    assert not read_verification(printed).clean


@pytest.fixture
def moving(monkeypatch: pytest.MonkeyPatch) -> list[dict[int, str]]:
    """What one look after the other finds; the last one again and again."""
    looks: list[dict[int, str]] = []

    def compare(shop: Any, own: Any, ids: list[int] | None = None) -> dict[int, str]:
        found = looks.pop(0) if len(looks) > 1 else looks[0]
        return {one: what for one, what in found.items() if ids is None or one in ids}

    monkeypatch.setattr(homes, "compare", compare)
    monkeypatch.setattr(separation, "LOOK_SECONDS", 0.0)
    return looks


def test_what_is_on_its_way_is_not_apart(moving: list[dict[int, str]]) -> None:
    moving += [{3: "differs", 4: "differs"}, {4: "differs", 5: "differs"}, {5: "differs"}]
    assert apart(SimpleNamespace(shop=None, own=None), seconds=5) == {}  # type: ignore[arg-type]


def test_what_stays_apart_is(moving: list[dict[int, str]]) -> None:
    moving += [{3: "differs", 4: "differs"}, {4: "differs"}]
    assert apart(SimpleNamespace(shop=None, own=None), seconds=0.05) == {4: "differs"}  # type: ignore[arg-type]


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    def refused(command: Any, **given: Any) -> Any:
        return subprocess.CompletedProcess(command, 1, stdout=json.dumps(VERIFIED), stderr="orders differ\n")

    monkeypatch.setattr(subprocess, "run", refused)
    return Terminal(Site(directory=tmp_path))


def test_a_command_that_may_be_refused_says_why(terminal: Terminal) -> None:
    done = terminal.attempt("sync", "verify", "orders", seconds=1)
    assert (done.returncode, json.loads(done.stdout)) == (1, VERIFIED)
    assert "$ manage.py sync verify orders   # exit 1" in terminal.log_path.read_text()


def test_a_command_that_must_not_fail_raises(terminal: Terminal) -> None:
    with pytest.raises(OperatorError, match=r"exit code 1.*orders differ"):
        terminal.run("sync", "verify", "orders", seconds=1)


class Told:
    """A run of which only its two homes are real."""

    def __init__(self, pair: Pair) -> None:
        self.shop, self.own = pair.shop, pair.own
        self.synced = Synced()
        self.notes: list[str] = []
        self.said: list[str] = []
        self.done: list[str] = []
        self.stack = SimpleNamespace(
            kill=lambda name: self.do("kill", name), restart=lambda name: self.do("start", name)
        )

    def do(self, what: str, name: str) -> None:
        self.done.append(f"{what} {name}")
        if what == "start":
            acknowledge(self.shop)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def say(self, text: str) -> None:
        self.said.append(text)

    def wait(self, condition: Any, **how: Any) -> float:
        if not condition():
            acknowledge(self.shop)
            assert condition(), how["what"]
        return 0.0


def acknowledge(shop: homes.SqliteHome) -> None:
    with shop.past_triggers() as connection:
        connection.execute("UPDATE strangler_sync_mark SET acked = gen")


def some_time_ago(shop: homes.SqliteHome) -> None:
    with shop.past_triggers() as connection:
        connection.execute("UPDATE strangler_sync_mark SET changed_at = '2026-01-02 03:04:05'")


def test_a_backfill_is_waited_for_until_all_of_it_has_arrived(pair: Pair) -> None:
    run: Any = Told(pair)
    some_time_ago(pair.shop)
    assert separation.behind_since(run) == 6
    separation.watch_backfill(run)
    assert run.synced.backfilled == (6,)
    assert "6 orders were marked and sent" in run.notes[0]
    assert separation.behind_since(run) == 0


def test_a_backfill_is_shown_once_it_has_begun(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separation, "SHOWN_SECONDS", 0.01)
    run: Any = Told(pair)
    with separation.backfill_shown(run):
        until(lambda: bool(run.said), seconds=10, what="something was shown")
        acknowledge(pair.shop)
        until(lambda: len(run.said) > 1, seconds=10, what="it was shown again")
    assert run.said == [f"    backfill: 6 of 6 orders marked, {behind} to be sent" for behind in (6, 0)]


def test_a_killed_process_is_started_again_and_what_waited_is_counted(pair: Pair) -> None:
    run: Any = Told(pair)
    with separation._killed(run, "celery-sync", "the worker"):
        assert run.done == ["kill celery-sync"]
    assert run.done == ["kill celery-sync", "start celery-sync"]
    (gone,) = run.synced.standstills
    assert (gone.who, gone.waited) == ("the worker", 6)
    assert "6 orders waited" in run.notes[0]


def test_a_difference_that_nobody_planted_is_a_problem_of_the_act() -> None:
    problems: list[str] = []
    separation._no_difference(SimpleNamespace(problem=problems.append), {7: homes.ONLY_SHOP}, "at once")  # type: ignore[arg-type]
    assert problems == ["order 7 is only in the shop, at once"]
