"""The ``sync`` command: what it prints, its JSON, its exit codes. Both sides are in this process."""

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings as of_tests
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from migrations_plan.sync import database, leases, operate
from migrations_plan.sync.capture import install, upkeep
from migrations_plan.sync.errors import PeerUnavailable
from migrations_plan.sync.management.commands import sync
from migrations_plan.sync.messages import Held
from migrations_plan.sync.models import Backfill, Lease, ParkedDocument
from migrations_plan.sync.sides import Direction
from tests.migrations_plan.sync.houses import LEGACY, OWN, contents, marks, order, unseen
from tests.own.rows import OwnOrder

pytestmark = pytest.mark.django_db(databases=["default", "own"])

Run = Callable[..., str]


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return for how long the command would have waited."""
    waits: list[float] = []

    def pause(seconds: float) -> None:
        assert len(waits) < 1000
        waits.append(seconds)

    monkeypatch.setattr(sync, "pause", pause)
    monkeypatch.setenv("COLUMNS", "150")
    return waits


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that calls ``sync`` and returns what it printed."""

    def call(*arguments: str) -> str:
        capsys.readouterr()
        call_command("sync", *arguments)
        return capsys.readouterr().out

    return call


@pytest.fixture
def refused(run: Run, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that calls ``sync``, which refuses: exit code, what it printed, and why."""

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(CommandError) as error:
            run(*arguments)
        return error.value.returncode, capsys.readouterr().out, str(error.value)

    return call


def spoil() -> str:
    """Change an amount at the service behind sync's back; return the key."""
    made = OwnOrder.objects.using("own").order_by("pk").first()
    assert made is not None
    with database.capture_suppressed("own"):
        OwnOrder.objects.using("own").filter(pk=made.pk).update(total_minor=1)
    return str(made.pk)


class TestStatus:
    def test_before_anything(self, run: Run) -> None:
        assert run("status").splitlines() == [
            "orders",
            "  capture              not installed; `sync install orders` does",
            "  buckets here         nobody wrote it down yet",
            "  backfill             not begun",
            "  legacy->extracted    0 to send; no lag measured in the last 5 min",
            "  extracted->legacy    no lag measured in the last 5 min",
            "  parked here          nothing",
            "  verified             never; `sync verify orders` compares both sides",
        ]

    def test_in_the_middle(self, run: Run, joined: Direction, settings: Any) -> None:
        settings.STRANGLER_SYNC = {**of_tests.STRANGLER_SYNC, "BACKFILL_CHUNK": 1}
        for _ in range(4):
            order()
        run("run", "orders", "--once")
        operate.start_backfill("orders", anew=True)
        operate.run_once("orders")
        told = run("status", "orders")
        assert "capture              installed" in told
        assert "buckets here         100 owner" in told
        assert "backfill             1 of 4 (25%)" in told
        assert "legacy->extracted    1 to send, the oldest since 0." in told
        assert "; lag p50 " in told

    def test_for_machines(self, run: Run, joined: Direction) -> None:
        order()
        run("backfill", "orders")
        run("run", "orders", "--once")
        order()
        run("run", "orders", "--once")
        held = Held(key=str(order().pk), gen=1, seconds=60.0, reason="not now")
        joined.source.ack("orders", (), (held,))
        run_ = run("status", "--json")
        (found,) = json.loads(run_)["aggregates"]
        out, back = found["directions"]
        assert (out["name"], out["marked"], out["held"], out["lag_samples"]) == ("legacy->extracted", 1, 1, 1)
        assert 0 < out["lag_p50"] <= out["lag_p99"] < 60
        assert 0 <= out["oldest_seconds"] < 60
        assert (back["name"], back["marked"], back["lag_p50"], back["lag_samples"]) == (
            "extracted->legacy",
            None,
            None,
            0,
        )
        assert found["owners"] == {"owner": 100}
        assert found["backfill"]["finished_at"]
        assert (found["captured"], found["missing_triggers"], found["gaps"], found["verification"]) == (
            True,
            [],
            0,
            None,
        )

    def test_a_trigger_is_missing(self, run: Run, captured: None) -> None:
        trigger = install.triggers(LEGACY)[0]
        with connection.cursor() as cursor:
            cursor.execute(trigger.drop[0])
        assert f"BROKEN: {trigger.name} (missing); `sync install orders` mends it" in run("status")
        assert run("install", "orders") == f"1 triggers put\n  {trigger.name}\n"
        assert "installed; found missing and put back 1 times" in run("status")


class TestTriggers:
    def test_install_and_remove(self, run: Run) -> None:
        names = [one.name for one in install.triggers(LEGACY)]
        listed = "".join(f"\n  {name}" for name in names)
        assert run("install", "orders", "--dry-run") == f"{len(names)} triggers would be put{listed}\n"
        assert not upkeep.installed(LEGACY)
        assert run("install", "orders") == f"{len(names)} triggers put{listed}\n"
        assert run("install", "orders") == "0 triggers put\n"
        assert run("remove", "orders", "--dry-run") == f"{len(names)} triggers would be removed{listed}\n"
        assert upkeep.installed(LEGACY)
        assert json.loads(run("remove", "orders", "--json")) == {"done": True, "triggers": names}
        assert not upkeep.installed(LEGACY)


class TestBackfill:
    def test_it_needs_triggers(self, refused: Any) -> None:
        code, _, why = refused("backfill", "orders")
        assert (code, "`sync install orders` installs them" in why) == (1, True)

    def test_it_marks_everything(self, run: Run, captured: None) -> None:
        with database.capture_suppressed("default"):
            order()
            order()
        assert run("backfill", "orders", "--dry-run") == "2 orders would be gone through and marked.\n"
        assert marks() == {}
        assert run("backfill", "orders") == "2 orders are marked; the relay sends them.\n"
        assert set(marks().values()) == {(1, 0)}
        assert json.loads(run("backfill", "orders", "--json")) == {"done": True, "marked": 2}
        assert set(marks().values()) == {(1, 0)}
        run("backfill", "orders", "--anew")
        assert set(marks().values()) == {(2, 0)}

    def test_while_a_worker_is_at_it_it_tells_how_far_that_is(
        self, run: Run, captured: None, monkeypatch: pytest.MonkeyPatch, nobody_waits: list[float]
    ) -> None:
        """The sweeper finds a backfill as soon as it is begun."""
        order()

        def pause(seconds: float) -> None:
            nobody_waits.append(seconds)
            if len(nobody_waits) == 3:
                Lease.objects.all().delete()

        monkeypatch.setattr(sync, "pause", pause)
        lease = leases.held("default", "backfill orders", 10)
        lease.__enter__()
        assert run("backfill", "orders") == "1 orders are marked; the relay sends them.\n"
        assert nobody_waits == [operate.BUSY_SECONDS] * 3


class TestRun:
    def test_once(self, run: Run, joined: Direction) -> None:
        order(lines=2)
        assert (
            run("run", "orders", "--once") == "legacy->extracted: nothing to send; extracted->legacy: nothing to send\n"
        )
        assert contents(LEGACY) == contents(OWN)

    def test_a_lease_that_a_dead_one_has_left_is_waited_for(self, run: Run, joined: Direction) -> None:
        made = order()
        Lease.objects.create(name="relay orders 0", holder="dead", until=timezone.now() + timedelta(seconds=0.3))
        run("run", "orders", "--seconds", "1")
        assert contents(OWN).keys() == {str(made.pk)}

    def test_once_with_a_backfill(self, run: Run, joined: Direction) -> None:
        with database.capture_suppressed("default"):
            made = order()
        operate.start_backfill("orders")
        found = json.loads(run("run", "orders", "--once", "--json"))
        assert found["directions"] == {"legacy->extracted": {}, "extracted->legacy": {}}
        assert marks() == {str(made.pk): (1, 1)}
        assert Backfill.objects.get().finished_at is not None

    def test_the_other_side_is_away(self, refused: Any, joined: Direction, monkeypatch: pytest.MonkeyPatch) -> None:
        """Once is once, also in the middle of a backfill."""

        def apply(*args: Any) -> Any:
            raise PeerUnavailable("It is down.")

        monkeypatch.setattr(joined.target, "apply", apply)
        order()
        operate.start_backfill("orders")
        code, out, why = refused("run", "orders", "--once")
        assert (code, why) == (1, "It is down.")
        assert "legacy->extracted: nothing to send; It is down." in out

    def test_for_some_time(
        self, run: Run, joined: Direction, monkeypatch: pytest.MonkeyPatch, nobody_waits: list[float]
    ) -> None:
        clock = iter(range(100))
        monkeypatch.setattr(sync, "monotonic", lambda: next(clock))
        run("run", "orders", "--seconds", "3")
        assert nobody_waits == [0.05, 0.05]

    def test_somebody_else_is_at_it(self, refused: Any, joined: Direction) -> None:
        with leases.held("default", "relay orders 0", 10):
            code, _, why = refused("run", "orders", "--once")
        assert (code, "relay orders 0 is being done by" in why) == (1, True)


class TestVerify:
    def test_equal(self, run: Run, joined: Direction) -> None:
        order()
        run("run", "orders", "--once")
        assert ": 1 compared, 0 differ, 0 could not be told" in run("verify", "orders")
        assert "1 compared, 0 differ" in run("status")

    def test_different(self, refused: Any, run: Run, joined: Direction) -> None:
        order()
        run("run", "orders", "--once")
        key = spoil()
        code, out, why = refused("verify", "orders", "--json")
        found = json.loads(out)
        assert (code, found["clean"], found["corrupt"], [one["key"] for one in found["findings"]]) == (
            1,
            False,
            1,
            [key],
        )
        assert "`sync repair orders` has the owner send again what differs." in why

    def test_repaired_at_once(self, run: Run, joined: Direction) -> None:
        order(total=Decimal("5.00"))
        run("run", "orders", "--once")
        spoil()
        told = run("verify", "orders", "--repair")
        assert told.startswith("1 of 1 are sent again\n")
        assert "1 compared, 0 differ" in told
        assert contents(LEGACY) == contents(OWN)

    def test_repaired_while_a_worker_relays(self, run: Run, joined: Direction, monkeypatch: pytest.MonkeyPatch) -> None:
        """The worker holds the lease, and sends what is to be sent."""
        order()
        run("run", "orders", "--once")
        spoil()
        relay_once = operate.relay_once

        def by_a_worker(name: str) -> Any:
            relay_once(name)
            with leases.held("default", "relay orders 0", 10):
                return relay_once(name)

        monkeypatch.setattr(operate, "relay_once", by_a_worker)
        assert "1 compared, 0 differ" in run("verify", "orders", "--repair")


class TestRepair:
    def test_nothing_is_known(self, refused: Any, joined: Direction) -> None:
        code, out, why = refused("repair", "orders", "--json")
        assert (code, json.loads(out)["error"]) == (1, "SyncError")
        assert "`sync verify orders` compares" in why

    def test_what_was_found(self, refused: Any, run: Run, joined: Direction) -> None:
        order()
        run("run", "orders", "--once")
        key = spoil()
        refused("verify", "orders")
        assert run("repair", "orders", "--dry-run") == "1 orders would be sent again.\n"
        code, _, why = refused("repair", "orders", "--keys", "4711")
        assert (code, "found nothing about 4711" in why) == (1, True)
        assert run("repair", "orders", "--keys", key) == "1 orders are marked to be sent again.\n"
        assert run("repair", "orders") == "0 orders are marked to be sent again.\n"
        run("run", "orders", "--once")
        assert contents(LEGACY) == contents(OWN)


class TestWaiting:
    def stuck(self, run: Run) -> str:
        """Have an order that the service does not take: another one there has its number."""
        order()
        run("run", "orders", "--once")
        foreign = OwnOrder.objects.using("own").get()
        foreign.pk, foreign.reference = 4711, "taken"
        with unseen():
            foreign.save(using="own", force_insert=True)
        made = order(number="taken")
        run("run", "orders", "--once")
        return str(made.pk)

    def test_nothing(self, run: Run, joined: Direction) -> None:
        assert run("waiting", "orders") == "Nothing waits for another try.\n"
        assert run("retry", "orders") == "0 are tried at once.\n"

    def test_sent_and_not_accepted(self, run: Run, joined: Direction) -> None:
        key = self.stuck(run)
        told = run("waiting", "orders")
        assert told.startswith(f"{key:<12} version 1     sent, not accepted, 1 tries: ")
        (found,) = json.loads(run("waiting", "orders", "--json"))["waiting"]
        assert (found["key"], found["where"], found["tries"]) == (key, "out", 1)
        assert "1 to send" in run("status")
        assert "1 not accepted" in run("status")

    def test_tried_again(self, run: Run, joined: Direction) -> None:
        key = self.stuck(run)
        with unseen():
            OwnOrder.objects.using("own").filter(pk=4711).delete()
        assert run("retry", "orders", "--dry-run") == "1 would be tried at once.\n"
        assert run("retry", "orders", "4711") == "0 are tried at once.\n"
        run("run", "orders", "--once")
        assert key not in contents(OWN)
        assert run("retry", "orders", key) == "1 are tried at once.\n"
        run("run", "orders", "--once")
        assert run("waiting", "orders") == "Nothing waits for another try.\n"
        assert contents(LEGACY) == contents(OWN)
        assert not ParkedDocument.objects.using("own").exists()


class TestExitCodes:
    def test_an_unknown_aggregate_is_a_usage_error(self, refused: Any) -> None:
        assert refused("waiting", "odrers") == (2, "", "No aggregate 'odrers' is declared here. Known: orders.")

    def test_no_peer(self, refused: Any, captured: None, settings: Any) -> None:
        settings.STRANGLER_SYNC = {"SIDE": "legacy"}
        code, out, why = refused("run", "orders", "--once", "--json")
        assert (code, json.loads(out)["error"], json.loads(out)["done"]) == (1, "NotConfigured", False)
        assert "(known: none)" in why

    def test_the_real_peer_is_not_there(self, refused: Any, captured: None, settings: Any) -> None:
        peer = {**of_tests.STRANGLER_SYNC["PEERS"]["orders"], "URL": "http://127.0.0.1:9/"}
        settings.STRANGLER_SYNC = {"SIDE": "legacy", "PEERS": {"orders": peer}}
        order()
        code, _, why = refused("run", "orders", "--once")
        assert (code, "cannot be reached" in why) == (1, True)
        code, _, why = refused("verify", "orders")
        assert (code, "cannot be reached" in why) == (1, True)
