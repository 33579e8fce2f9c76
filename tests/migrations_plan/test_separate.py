"""The phase ``separate`` on a real database: triggers come with the step and go with it, traffic stays as it is."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.test import Client, override_settings
from django.utils import timezone

from migrations_plan import api, pages, plan_registry, syncing
from migrations_plan.builders import monolith, separate, shared
from migrations_plan.errors import NotReady, OperationFailed
from migrations_plan.gates import Comparisons, HealthReport
from migrations_plan.measurements import RouterMeasurements
from migrations_plan.models import ServiceState
from migrations_plan.plan import Plan
from migrations_plan.source import PlanSnapshotSource
from migrations_plan.standing import BackfillProgress, SyncStanding, Verified, Way
from migrations_plan.sync import aggregates, lag, operate
from migrations_plan.sync.models import Mark, Ownership, Verification
from migrations_plan.testing import stand_at
from router.api import Envelope
from router.models.traffic import TrafficCount
from tests.migrations_plan.fakes import ALICE, FakeMeasurements, executor, in_force, plenty
from tests.migrations_plan.sync.houses import LEGACY, marks, order
from tests.migrations_plan.sync.wire.memory import MemorySide
from tests.migrations_plan.sync.wire.serving import AUDIENCE, SECRET, served
from tests.processes import free_port

pytestmark = pytest.mark.django_db
PLAN = Plan(service="orders", phases=(monolith(), shared(), separate(aggregate="orders")))


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Let this be the plan of orders, and the shop's the only aggregate."""
    with plan_registry.replaced(PLAN), aggregates.replaced(LEGACY):
        yield


def committed() -> None:
    """Check the foreign keys now, as a commit would; PostgreSQL changes no table before."""
    connection.check_constraints()


def backfilled() -> None:
    operate.run_backfill("orders", lambda done: None, lambda seconds: None)


class TestTraffic:
    @pytest.mark.parametrize(
        ("step", "shadow_store", "copies"), [("separate.sync", "", "shared"), ("separate.shadow", "own", "own")]
    )
    def test_the_service_goes_on_answering_from_the_shared_store(
        self, step: str, shadow_store: str, copies: str
    ) -> None:
        stand_at("orders", step)
        envelope = Envelope(step=step, reads=100, writes=100, shadow=100, store="shared", shadow_store=shadow_store)
        assert PlanSnapshotSource().envelopes()["orders"] == envelope
        assert {name: found.store for name, found in api.status("orders").channels.items()} == {
            "reads": "shared",
            "writes": "shared",
            "shadow": copies,
        }

    def test_pages_and_commands_name_the_store_that_copies_go_to(self, numbers: FakeMeasurements) -> None:
        stand_at("orders", "separate.shadow")
        status = api.status("orders")
        assert "100 % to own" in pages.overview([status], 200)
        assert "100 %  own" in " ".join(pages.one(status, 160).split("\n")[4:8])
        browser = Client()
        browser.force_login(get_user_model().objects.create_superuser("root", password="x"))
        base = "/admin/migrations_plan/servicestate/"
        assert "100 % to own" in browser.get(base).content.decode()
        page = browser.get(f"{base}orders/").content.decode()
        assert "shadow 100 to own" in page
        assert "<td>own</td>" in page

    def test_what_was_compared_with_another_store_is_no_evidence(self) -> None:
        stand_at("orders", "separate.shadow")
        for store in ("shared", "own"):
            TrafficCount.objects.create(
                at=timezone.now() + timedelta(seconds=1),
                process="web:1",
                service="orders",
                route="list",
                kind="read",
                side="shadow",
                outcome="match",
                store=store,
                count=1 if store == "own" else 1_000_000,
            )
        (rate,) = [gate for gate in api.status("orders").gates if gate.gate == "shadow-match-rate"]
        assert rate.samples == 1

    def test_a_plan_that_was_changed_is_told_with_the_store(self) -> None:
        stand_at("orders", "separate.shadow")
        ServiceState.objects.update(shadow_store="moon")
        assert "shadow 100 % to moon" in api.status("orders").warnings[0]


class TestOperations:
    @pytest.fixture
    def mover(self) -> Any:
        stand_at("orders", "shared")
        return executor(PLAN)

    def test_the_plan_says_what_is_done_and_how_it_is_undone(self, mover: Any) -> None:
        stand_at("orders", "shared")
        lines = dict(line for move in api.plan_moves("orders", "separate") for line in move.lines())
        text = "\n".join(f"{does} | {undo}" for does, undo in lines.items())
        for wanted in (
            "ask orders (own) whether it is ready | nothing to undo",
            "install the triggers that note every change of orders",
            "versions are kept, what was backfilled counts no more, and the next start sends everything anew",
            "begin to mark everything in orders",
            "allow shadow to the store shared -> own | allow shadow to the store own -> shared",
        ):
            assert wanted in text

    def test_what_was_there_and_what_changes_is_marked(self, mover: Any) -> None:
        before = order()
        committed()
        mover.advance("separate.sync", ALICE)
        assert in_force(PLAN) == PLAN.find("separate.sync").envelope
        after = order()
        assert set(marks()) == {str(after.pk)}
        backfilled()
        assert set(marks()) == {str(before.pk), str(after.pk)}
        assert syncing.standing("orders").owners == {"owner": 100}

    def test_undone_versions_are_kept_and_the_next_start_marks_everything_anew(self, mover: Any) -> None:
        stays, goes = order(), order()
        committed()
        mover.advance("separate.sync", ALICE)
        backfilled()
        Mark.objects.update(acked=1)
        assert syncing.standing("orders").backfill == BackfillProgress(marked=2, total=2, finished=True)
        mover.rollback("shared", ALICE)
        assert syncing.standing("orders").backfill is None
        assert not Ownership.objects.filter(backfilled=True).exists()
        assert not syncing.standing("orders").captured
        gone = str(goes.pk)
        goes.lines.all().delete()
        goes.delete()
        committed()
        assert marks() == {str(stays.pk): (1, 1), gone: (1, 1)}
        mover.advance("separate.sync", ALICE)
        backfilled()
        assert marks() == {str(stays.pk): (2, 1), gone: (2, 1)}

    def test_twice_is_as_good_as_once(self, mover: Any) -> None:
        order()
        committed()
        operations = PLAN.find("separate.sync").operations
        context = api.plan_moves("orders", "separate.sync")[0].context(plenty())
        for _ in range(2):
            for operation in operations:
                operation.forwards(context)
        backfilled()
        assert [gen for gen, _ in marks().values()] == [1]
        for _ in range(2):
            for operation in reversed(operations):
                operation.backwards(context)
        assert not syncing.standing("orders").captured

    def test_triggers_stay_where_buckets_are_owned_elsewhere(self, mover: Any) -> None:
        mover.advance("separate.sync", ALICE)
        Ownership.objects.filter(bucket__lt=3).update(state="replica")
        careful = executor(PLAN, _Real(plenty()))
        with pytest.raises(OperationFailed, match="3 buckets of orders are not owned here"):
            careful.rollback("shared", ALICE)
        assert syncing.standing("orders").captured

    def test_an_other_side_that_does_not_answer_is_found_before_the_step_begins(self) -> None:
        stand_at("orders", "shared")
        numbers = plenty()
        numbers.other_side = HealthReport(ok=False, detail="connection refused.")
        with pytest.raises(NotReady, match=r"cannot take part: connection refused.*STRANGLER_SYNC\['PEERS'\]"):
            executor(PLAN, numbers).advance("separate.sync", ALICE)
        assert not syncing.standing("orders").captured

    def test_the_store_that_is_asked_is_the_second(self, mover: Any) -> None:
        numbers = plenty()
        executor(PLAN, numbers).advance("separate.shadow", ALICE)
        assert set(numbers.asked_stores) == {"shared", "own"}


class _Real(FakeMeasurements):
    """Numbers set by hand, but how sync stands is read."""

    def __init__(self, numbers: FakeMeasurements) -> None:
        super().__init__(**vars(numbers))

    def sync(self, aggregate: str) -> SyncStanding:
        return RouterMeasurements().sync(aggregate)


class TestNumbers:
    def test_of_a_service_that_nobody_syncs_yet(self) -> None:
        found = RouterMeasurements().sync("orders")
        assert (found.captured, found.backfill, found.problem) == (False, None, "")
        assert RouterMeasurements().verification("orders") is None

    def test_of_one_that_is_under_way(self) -> None:
        operate.install("orders")
        operate.start_backfill("orders")
        order()
        lag.record(LEGACY.alias, "orders", "legacy->extracted", [0.5] * 50)
        found = RouterMeasurements().sync("orders")
        assert (found.captured, found.missing_triggers, found.parked) == (True, (), 0)
        assert found.backfill == BackfillProgress(marked=0, total=0, finished=False)
        way = found.way("legacy->extracted")
        assert isinstance(way, Way)
        assert (way.waiting, way.held, way.lag_samples, way.lag_p99) == (1, 0, 50, pytest.approx(0.5, rel=0.1))
        assert way.oldest_seconds is not None

    def test_a_verification_counts_once_it_is_finished(self) -> None:
        row = Verification.objects.create(aggregate="orders", compared=5, corrupt=1, unresolved=2, pending=3)
        assert RouterMeasurements().verification("orders") is None
        row.finished_at = timezone.now()
        row.save()
        assert RouterMeasurements().verification("orders") == Verified(
            started_at=row.started_at, finished_at=row.finished_at, compared=5, corrupt=1, unresolved=5
        )

    @pytest.mark.parametrize("problem", ["undeclared", "not installed"])
    def test_what_cannot_be_known_is_told_and_raises_nothing(
        self, problem: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if problem == "not installed":
            monkeypatch.setattr(syncing, "installed", lambda: False)
        name = "orders" if problem == "not installed" else "things"
        numbers = RouterMeasurements()
        assert numbers.sync(name).problem
        assert numbers.verification(name) is None
        assert not numbers.peer(name).ok

    def test_a_peer_that_answers_takes_part(self) -> None:
        with served(MemorySide()) as (peer, _):
            where = {"things": {"URL": peer.url, "SECRET": SECRET, "AUDIENCE": AUDIENCE}}
            ours = {"SIDE": "legacy", "PEERS": where}
            with override_settings(STRANGLER_SYNC={**ours, "SECRET": SECRET, "AUDIENCE": AUDIENCE}):
                assert syncing.peer("things") == HealthReport(
                    ok=True, detail="The other side of things answers for 100 buckets."
                )

    @pytest.mark.parametrize("peers", ["none", "away"])
    def test_a_peer_that_does_not_is_told(self, peers: str) -> None:
        url = f"http://127.0.0.1:{free_port()}/strangler/sync/"
        where = {"orders": {"URL": url, "SECRET": SECRET}} if peers == "away" else {}
        with override_settings(STRANGLER_SYNC={"SIDE": "legacy", "PEERS": where}):
            report = syncing.peer("orders")
        assert not report.ok
        assert report.detail


def test_the_gates_hold_the_phase_back_and_let_it_go_on(capsys: Any) -> None:
    """With the real numbers of an empty shop nothing is proven."""
    stand_at("orders", "separate.sync")
    blocking = {result.gate: result.outcome.value for result in api.status("orders").blocking}
    assert blocking == {
        "backfill-done": "inconclusive",
        "capture-intact": "fail",
        "sync-caught-up": "inconclusive",
        "sync-verified": "inconclusive",
    }
    call_command("phase", "status", "orders")
    assert "`sync verify orders`" in " ".join(capsys.readouterr().out.split())


def test_a_mismatch_rate_holds_the_shadow_step_back(numbers: FakeMeasurements) -> None:
    stand_at("orders", "separate.shadow")
    numbers.compared = Comparisons(compared=10_000, matched=9_000)
    assert [result.gate for result in api.status("orders").blocking] == ["shadow-match-rate"]
    assert "own" in numbers.asked_stores
