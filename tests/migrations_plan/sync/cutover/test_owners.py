"""``sync owners``, ``sync resume``, ``sync status`` and the sweeper, where buckets change hands or stand in between."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from celery import Task, current_app
from django.conf import settings as of_tests
from django.core.management import CommandError, call_command

from migrations_plan.executor import Executor
from migrations_plan.sync import leases, owner_pages, tasks
from migrations_plan.sync.handover import goals
from migrations_plan.sync.messages import State
from tests.migrations_plan.fakes import ALICE
from tests.migrations_plan.sync.cutover.hands import Away, owned
from tests.migrations_plan.sync.houses import LEGACY, OWN, become

pytestmark = pytest.mark.django_db(databases=["default", "own"])
Run = Callable[..., str]
HINT = ("strangler_sync.handover", ("orders",))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that calls ``sync`` and returns what it printed."""

    def call(*arguments: str) -> str:
        capsys.readouterr()
        call_command("sync", *arguments)
        return capsys.readouterr().out

    return call


@pytest.fixture
def three(mover: Executor) -> Executor:
    """Let the service own the buckets 0 to 2."""
    mover.advance("separate.cutover@3", ALICE)
    return mover


def coming_home(bucket: int) -> None:
    """Leave a bucket in the middle of coming home, as a coordinator that died would."""
    goals.set_goals(LEGACY, [bucket], "legacy")
    become(OWN, bucket, State.FROZEN, 3)


class TestOwners:
    def test_nothing_has_moved(self, run: Run, sides: Any) -> None:
        assert run("owners", "orders").splitlines() == [
            "orders: legacy owns 100, extracted owns 0",
            "  BUCKETS    OWNER       LEGACY          EXTRACTED       TO BE OWNED BY",
            "  0-99       legacy      owner 1         replica 1",
            "No bucket is in between.",
            "No bucket changed hands in the last 24 h.",
        ]

    def test_ranges_and_what_is_in_between(self, run: Run, three: Executor) -> None:
        coming_home(1)
        lines = run("owners", "orders").splitlines()
        assert lines[0] == "orders: legacy owns 97, extracted owns 2, nobody 1"
        assert [line.split() for line in lines[2:6]] == [
            ["0", "extracted", "replica", "2", "owner", "2"],
            ["1", "nobody", "replica", "2", "frozen", "3", "legacy"],
            ["2", "extracted", "replica", "2", "owner", "2"],
            ["3-99", "legacy", "owner", "1", "replica", "1"],
        ]
        assert lines[6] == ("In between: 1. The sweeper goes on with them; `sync resume orders` does it at once.")
        assert lines[7].startswith("3 changes of hands in the last 24 h; nobody could write in a bucket for ")
        document = json.loads(run("owners", "orders", "--json"))
        assert document["buckets"] == {"legacy": 97, "extracted": 2, "nobody": 1}
        assert (document["between"], document["away"], document["held"]["count"]) == ([1], "", 3)
        assert document["ranges"][1] == {
            "first": 1,
            "last": 1,
            "owner": "nobody",
            "goal": "legacy",
            "sides": {"legacy": "replica 2", "extracted": "frozen 3"},
        }

    def test_the_other_side_is_away(self, run: Run, three: Executor, sides: Any) -> None:
        sides["extracted"] = Away()
        lines = run("owners", "orders").splitlines()
        assert lines[0] == "orders: legacy owns 97, extracted owns 3"
        assert lines[1].startswith("! The other side did not say, so this is what is known here: http://127.0.0.1:8103")
        assert [line.split() for line in lines[3:5]] == [
            ["0-2", "extracted", "replica", "2", "?"],
            ["3-99", "legacy", "owner", "1", "?"],
        ]


class TestStatus:
    @pytest.fixture(autouse=True)
    def peers(self, settings: Any) -> None:
        """Say where the other side is."""
        settings.STRANGLER_SYNC = {
            **of_tests.STRANGLER_SYNC,
            "PEERS": {"orders": {"URL": "http://127.0.0.1:8103/strangler/sync/", "SECRET": "s" * 32}},
        }

    def test_nobody_is_asked_before_anything_has_moved(self, run: Run, sides: Any) -> None:
        sides["extracted"] = Away()
        assert "owners" not in run("status", "orders")

    def test_it_shows_owners_in_between_and_hold_times(self, run: Run, three: Executor) -> None:
        coming_home(1)
        text = run("status", "orders")
        assert "  buckets here         97 owner, 3 replica; in between: 1\n" in text
        assert "  changes of hands     3 changes of hands in the last 24 h; nobody could write" in text
        assert "  owners               legacy owns 97, extracted owns 2, nobody 1" in text
        (document,) = json.loads(run("status", "orders", "--json"))["aggregates"]
        assert (document["between"], document["held"]["count"]) == ([1], 3)
        assert document["both_sides"]["buckets"] == {"legacy": 97, "extracted": 2, "nobody": 1}

    def test_the_other_side_is_away(self, run: Run, three: Executor, sides: Any) -> None:
        sides["extracted"] = Away()
        assert "  owners               http://127.0.0.1:8103/strangler/sync/ does not answer" in run("status", "orders")


class TestResume:
    def test_nothing_to_do(self, run: Run, sides: Any) -> None:
        assert run("resume", "orders", "--dry-run") == "No bucket is in between.\n"
        assert run("resume", "orders") == "No bucket was in between.\n"

    def test_what_is_in_between_is_ended(self, run: Run, three: Executor) -> None:
        coming_home(1)
        assert "In between: 1. " in run("resume", "orders", "--dry-run")
        assert owned() == {"default": 97, "own": 2}
        assert run("resume", "orders") == ("Buckets of orders that were in between and have an owner now: 1.\n")
        assert owned() == {"default": 98, "own": 2}
        coming_home(2)
        assert json.loads(run("resume", "orders", "--json")) == {"done": True, "buckets": [2], "in_between": []}

    def test_what_cannot_be_ended_is_told(self, run: Run, three: Executor, sides: Any) -> None:
        coming_home(1)
        sides["extracted"] = Away()
        with pytest.raises(CommandError, match="does not answer") as error:
            run("resume", "orders")
        assert error.value.returncode == 1

    def test_somebody_is_at_it(self, run: Run, three: Executor) -> None:
        with (
            leases.held(LEGACY.alias, "handover orders", 30) as lease,
            pytest.raises(CommandError, match="handover orders is being done by") as error,
        ):
            run("resume", "orders")
        assert lease.holder in str(error.value)

    @pytest.mark.parametrize(
        ("buckets", "told"), [((), ""), ((4,), "4"), ((1, 2, 3), "1-3"), ((9, 0, 1, 5), "0-1, 5, 9")]
    )
    def test_ranges(self, buckets: tuple[int, ...], told: str) -> None:
        assert owner_pages.ranges(buckets) == told

    def test_what_is_left_is_told(self) -> None:
        assert owner_pages.resumed("orders", (1, 2), (2,)) == "Buckets of orders that are still in between: 2."


class TestSweeper:
    @pytest.fixture
    def hints(self, monkeypatch: pytest.MonkeyPatch, settings: Any) -> list[tuple[str, Any]]:
        """Return what is sent to the broker, which is not there."""
        sent: list[tuple[str, Any]] = []
        peer = {"URL": "http://127.0.0.1:8103/strangler/sync/", "SECRET": "s" * 32}
        settings.STRANGLER_SYNC = {**of_tests.STRANGLER_SYNC, "PEERS": {"orders": peer}}
        monkeypatch.setattr(tasks, "_peer_asked", {})
        monkeypatch.setattr(Task, "apply_async", lambda self, args=(), **options: sent.append((self.name, tuple(args))))
        return sent

    def test_at_rest_nobody_is_asked(self, sides: Any, hints: list[Any]) -> None:
        tasks.sweep()
        assert HINT not in hints

    @pytest.mark.parametrize("how", ["goal", "frozen"])
    def test_what_is_in_between_here_is_gone_on_with(self, how: str, sides: Any, hints: list[Any]) -> None:
        if how == "goal":
            goals.set_goals(LEGACY, [4], "extracted")
        else:
            become(LEGACY, 4, State.FROZEN, 2)
        for _ in range(2):
            tasks.sweep()
        assert hints.count(HINT) == 2
        assert current_app.tasks[HINT[0]](*HINT[1]) == (
            "no bucket is in between" if how == "goal" else "buckets in between: 4"
        )
        tasks.sweep()
        assert hints.count(HINT) == 2
        assert owned()["default"] == 100

    def test_the_other_side_is_asked_now_and_then(
        self, three: Executor, hints: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [100.0]
        monkeypatch.setattr(tasks, "monotonic", lambda: now[0])
        become(OWN, 1, State.FROZEN, 3)  # nothing here tells
        for _ in range(3):
            tasks.sweep()
        assert hints.count(HINT) == 1
        assert tasks.handover("orders") == "buckets in between: 1"
        assert owned() == {"default": 97, "own": 3}
        now[0] += tasks.PEER_SECONDS
        tasks.sweep()
        assert hints.count(HINT) == 2

    def test_somebody_is_at_it_or_nobody_answers(self, three: Executor, sides: Any, caplog: Any) -> None:
        with leases.held(LEGACY.alias, "handover orders", 30):
            assert "is being done by" in tasks.handover("orders")
        sides["extracted"] = Away()
        assert "does not answer" in tasks.handover("orders")
        assert "handover orders: http://127.0.0.1:8103" in caplog.text
