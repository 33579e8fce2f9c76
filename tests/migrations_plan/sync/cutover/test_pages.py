"""What commands and admin show of who owns what, and of what a rollback has to bring home."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import Client

from migrations_plan.executor import Executor
from router.buckets import bucket
from tests.migrations_plan.fakes import ALICE
from tests.migrations_plan.sync.cutover.hands import Away, killed_at, owned
from tests.migrations_plan.test_admin import words
from tests.own.rows import OwnOrder

pytestmark = [
    pytest.mark.django_db(databases=["default", "own"]),
    pytest.mark.usefixtures("numbers"),
    pytest.mark.any_database,
]
Run = Callable[..., str]
CONTROL = "/admin/migrations_plan/servicestate/orders/"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that calls a command and returns what it printed, with its spaces evened out."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> str:
        capsys.readouterr()
        call_command(*arguments)
        return capsys.readouterr().out

    return call


def flat(text: str) -> str:
    """Return a text with its spaces evened out."""
    return " ".join(text.split())


@pytest.fixture
def thirty(mover: Executor) -> Executor:
    """Let the service own 30 buckets on the way to all of them, and an order have changed there."""
    with pytest.raises(KeyboardInterrupt):
        replace(mover, progress=killed_at("30 of 100 buckets are at extracted")).advance("separate.cutover", ALICE)
    return mover


@pytest.mark.usefixtures("thirty")
class TestPhase:
    def test_status_shows_wanted_and_owned(self, run: Run) -> None:
        line = flat(run("phase", "status").splitlines()[1])
        assert line.startswith("orders separate.cutover@3 (moving) 100 % 100 % 100 % to own 30 %")
        text = run("phase", "status", "orders")
        assert "Owners of orders: legacy owns 70 buckets, the service 30; the step wants 100 there." in text
        assert "To go back: 30 buckets of orders have to come home, with 0 changes" in text
        assert "Every step of this plan can be undone." in text
        document = json.loads(run("phase", "status", "orders", "--json"))
        assert document["owners"] == [
            {"aggregate": "orders", "wanted": 100, "legacy": 70, "extracted": 30, "between": 0}
        ]
        assert document["homecoming"][0]["buckets"] == list(range(30))
        assert document["point_of_no_return"] is None

    def test_plan_says_what_a_rollback_has_to_bring_home_and_runs_nothing(self, run: Run) -> None:
        there = [one.pk for one in OwnOrder.objects.using("own") if bucket("orders", one.buyer) < 30]
        OwnOrder.objects.using("own").filter(pk__in=there).update(remark="changed there")
        before = owned()
        text = run("phase", "plan", "orders", "--to", "separate.shadow")
        assert text.startswith(
            f"30 buckets of orders have to come home, with {len(there)} changes that are not here yet; "
        )
        assert "bring what the service owns of buckets 3 to 99 of orders home to legacy" in flat(text)
        assert "Every step of this plan can be undone." in text
        document = json.loads(run("phase", "plan", "orders", "--rollback", "--to", "monolith", "--json"))
        assert document["homecoming"][0]["buckets"] == list(range(30))
        assert document["homecoming"][0]["problems"] == []
        assert owned() == before

    def test_plan_says_what_would_be_lost(self, run: Run, sides: Any) -> None:
        sides["extracted"] = Away()
        text = run("phase", "plan", "orders", "--rollback", "--to", "separate.shadow")
        assert "! This would lose data, so it is refused: The service holds 30 buckets of orders" in text
        with pytest.raises(CommandError, match="cannot go back without losing data") as error:
            run("phase", "rollback", "orders")
        assert error.value.returncode == 1
        document = json.loads(run("phase", "status", "orders", "--json"))
        assert "does not answer" in document["homecoming"][0]["problems"][0]

    def test_rollback_says_it_before_it_begins(self, run: Run) -> None:
        lines = run("phase", "rollback", "orders", "--to", "separate.shadow").splitlines()
        assert lines[0].startswith("30 buckets of orders have to come home, ")
        assert lines[1].startswith("undoing separate.cutover@100")
        assert owned()["own"] == 0
        history = flat(run("phase", "history", "orders"))
        assert "97 of 97 buckets are at legacy, 27 of them moved now; nobody could write in a bucket for " in history

    def test_advance_tells_how_far_it_is_on_a_passing_line(self, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("phase", "advance", "orders", "--to", "separate.cutover")
        told = capsys.readouterr()
        assert "  37 of 100 buckets are at extracted\n" in told.err
        assert "37 of 100" not in told.out
        assert "100 of 100 buckets are at extracted, 70 of them moved now" in told.out

    def test_what_bake_has_to_show_is_seen_although_nothing_comes_after(self, run: Run) -> None:
        run("phase", "advance", "orders")
        text = run("phase", "status", "orders")
        assert "What separate.bake has to show, as measured now:" in text
        assert "dwell-time" in text
        assert "shadow-match-rate-legacy" in text

    def test_the_admin_shows_the_same(self, sides: Any) -> None:
        browser = Client()
        browser.force_login(get_user_model().objects.create_superuser("root", password="x"))
        page = words(browser.get(CONTROL).content)
        assert "orders 100 30 70 0" in page
        assert "To go back: 30 buckets of orders have to come home" in page
        assert "Every step of this plan can be undone." in page
        assert "100 % to own 30 %" in words(browser.get("/admin/migrations_plan/servicestate/").content)
        page = words(browser.get(f"{CONTROL}rollback/").content)
        assert "27 buckets of orders have to come home" in page  # those of the step that was begun
        assert "Every step of this plan can be undone." in page
        sides["extracted"] = Away()
        page = words(browser.get(f"{CONTROL}rollback/").content)
        assert "This would lose data, so it is refused: The service holds 27 buckets of orders" in page
        page = words(browser.post(f"{CONTROL}rollback/", {"reason": "x"}, follow=True).content)
        assert "rders cannot go back without losing data" in page
        assert owned()["own"] == 30
