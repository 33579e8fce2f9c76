"""The ``phase`` commands: what they print, their JSON, their exit codes."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from migrations_plan.gates import Calls, Comparisons, HealthReport
from migrations_plan.management.commands import phase
from migrations_plan.models import Evidence, HistoryEntry, ServiceState
from migrations_plan.testing import stand_at
from tests.migrations_plan.fakes import FakeMeasurements

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("orders_plan")]
Run = Callable[..., str]


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep lines whole, whatever terminal the tests run in."""
    monkeypatch.setenv("COLUMNS", "150")


@pytest.fixture
def run(numbers: FakeMeasurements, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that calls ``phase`` and returns what it printed."""

    def call(*arguments: str) -> str:
        capsys.readouterr()
        call_command("phase", *arguments)
        return capsys.readouterr().out

    return call


def rows() -> tuple[list[Any], ...]:
    """Return everything that the commands may write."""
    return tuple(list(model.objects.order_by("pk").values()) for model in (ServiceState, HistoryEntry, Evidence))


def test_status_of_all_services(run: Run) -> None:
    run("advance", "orders", "--to", "shared.reads@10")
    header, line = run("status").splitlines()
    assert " ".join(header.split()) == "SERVICE STEP READS WRITES SHADOW HOW LONG NEXT WHAT IS MISSING"
    assert line.split()[:8] == ["orders", "shared.reads@10", "10", "%", "0", "%", "100", "%"]
    assert "shared.reads@50" in line
    assert "every gate holds" in line


def test_status_of_one_service_shows_requested_and_effective_and_what_is_missing(
    run: Run, numbers: FakeMeasurements
) -> None:
    run("advance", "orders", "--to", "shared.reads@10")
    numbers.called = {"read": Calls(total=40, failed=0)}
    text = run("status", "orders")
    assert "orders is at shared.reads@10: the service answers the reads of 10 % of the buckets" in text
    assert "-> shared.reads@10" in text
    assert "PHASE ALLOWS  FLAG REQUESTS  EFFECTIVE  STORE   WHY" in text
    assert "shared.reads@10 allows no more" in text
    assert "40 of" not in text
    assert "60 reads are missing" in text
    assert "Missing: read-error-rate inconclusive (40 samples, 60 missing)" in text


def test_status_as_json(run: Run, numbers: FakeMeasurements) -> None:
    numbers.compared = Comparisons(compared=10, matched=10)
    run("advance", "orders", "--to", "shared.shadow")
    with pytest.raises(CommandError):
        run("advance", "orders", "--to", "shared.reads@1")
    document = json.loads(run("status", "orders", "--json"))
    assert document["step"] == "shared.shadow"
    assert document["next"] == "shared.reads@1"
    assert document["paused"] is False
    assert document["moving"] is None
    assert document["envelope"] == {
        "step": "shared.shadow",
        "reads": 0,
        "writes": 0,
        "shadow": 100,
        "store": "shared",
        "shadow_store": "",
        "owned_store": "own",
        "paused": False,
    }
    assert set(document["channels"]) == {"reads", "writes", "shadow"}
    assert {"requested", "effective", "envelope", "why"} <= set(document["channels"]["reads"])
    gate = document["gates"][0]
    assert (gate["gate"], gate["outcome"], gate["samples"], gate["missing"]) == (
        "shadow-match-rate",
        "inconclusive",
        10,
        529,
    )
    assert [item["gate"] for item in document["evidence"]] == [
        "shadow-match-rate",
        "breaker-closed",
        "upstream-healthy",
    ]
    assert len(document["ladder"]) == 10
    everything = json.loads(run("status", "--json"))
    assert [service["service"] for service in everything["services"]] == ["orders"]


def test_plan_prints_what_would_be_done_and_runs_nothing(run: Run, numbers: FakeMeasurements) -> None:
    numbers.ready = HealthReport(ok=False, detail="down")
    before = rows()
    text = run("plan", "orders", "--to", "shared.reads@1")
    assert "1. monolith -> shared.shadow" in text
    assert "2. shared.shadow -> shared.reads@1" in text
    assert "must hold first: shadow-match-rate: at least 99.50%" in text
    assert "allow reads 0 % -> 1 %" in text
    assert "delete those of the flags that nobody changed" in text
    document = json.loads(run("plan", "orders", "--to", "shared", "--json"))
    assert len(document["moves"]) == 9
    assert document["moves"][0]["operations"][2] == {
        "does": "allow shadow 0 % -> 100 %",
        "undo": "allow shadow 100 % -> 0 %",
    }
    assert rows() == before == ([], [], [])


def test_plan_of_the_way_back(run: Run) -> None:
    stand_at("orders", "shared.reads@10")
    document = json.loads(run("plan", "orders", "--rollback", "--to", "monolith", "--json"))
    assert [move["to"] for move in document["moves"]] == ["shared.reads@1", "shared.shadow", "monolith"]
    assert document["moves"][0]["operations"][0]["does"] == "allow reads 10 % -> 1 %"


def test_advance_tells_each_step_and_operation(run: Run) -> None:
    text = run("advance", "orders", "--to", "shared.reads@1", "--actor", "ann", "--reason", "go")
    assert "taking shared.shadow: legacy answers; reads are copied to the service and compared" in text
    assert "  allow reads 0 % -> 1 %" in text
    assert "orders: monolith -> shared.shadow -> shared.reads@1" in text
    assert set(HistoryEntry.objects.values_list("actor", "reason")) == {("ann", "go")}
    assert json.loads(run("advance", "orders", "--to", "shared.reads@10", "--json")) == {
        "service": "orders",
        "done": True,
        "before": "shared.reads@1",
        "after": "shared.reads@10",
        "target": "shared.reads@10",
        "steps": ["shared.reads@10"],
        "stopped_by": [],
        "gates": [],
        "homecoming": [],
    }


def test_without_a_target_it_goes_as_far_as_the_gates_let_it(run: Run, numbers: FakeMeasurements) -> None:
    assert len(json.loads(run("plan", "orders", "--json"))["moves"]) == 9
    numbers.compared = Comparisons(compared=0, matched=0)
    with pytest.raises(CommandError, match=r"orders stays at shared\.shadow"):
        run("advance", "orders")
    numbers.compared = Comparisons(compared=100_000, matched=100_000)
    assert json.loads(run("advance", "orders", "--json"))["after"] == "shared.writes@100"


def test_the_actor_is_the_user_of_the_system_by_default(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phase, "system_user", lambda: "operator")
    run("pause", "orders")
    assert HistoryEntry.objects.get().actor == "operator"


def test_a_gate_that_stops_is_printed_with_what_is_missing(
    numbers: FakeMeasurements, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers.compared = Comparisons(compared=0, matched=0)
    with pytest.raises(CommandError) as stopped:
        call_command("phase", "advance", "orders", "--to", "shared")
    assert stopped.value.returncode == 1
    assert "shadow-match-rate is inconclusive (0 samples, 539 missing)" in str(stopped.value)
    printed = capsys.readouterr().out
    assert "orders: monolith -> shared.shadow" in printed
    assert "No answer was compared since shared.shadow was entered; 539" in printed
    with pytest.raises(CommandError):
        call_command("phase", "advance", "orders", "--json")
    document = json.loads(capsys.readouterr().out)
    assert (document["done"], document["steps"], document["after"]) == (False, [], "shared.shadow")
    assert [gate["gate"] for gate in document["stopped_by"]] == ["shadow-match-rate"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["advance", "order"], 2, "Services with a plan: orders"),
        (["status", "order"], 2, "Services with a plan: orders"),
        (["history", "order"], 2, "Services with a plan: orders"),
        (["plan", "orders", "--to", "shared.read"], 2, "shared.reads@1, shared.reads@10"),
        (["advance", "orders", "--to", "shared.reads@2"], 2, "shared.reads@1, shared.reads@10"),
        (["advance", "orders", "--to", "shared", "--override-gate", "nope", "--reason", "x"], 2, "shadow-match-rate"),
        (["advance", "orders", "--override-gate", "shadow-match-rate"], 2, "--reason TEXT"),
        (["rollback", "orders"], 1, "the first step"),
        (["resume", "orders"], 1, "not paused"),
    ],
)
@pytest.mark.usefixtures("numbers")
def test_exit_codes(arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("phase", *arguments)
    assert refused.value.returncode == code
    assert says in str(refused.value)
    with pytest.raises(CommandError) as refused:
        call_command("phase", *arguments, "--json")
    document = json.loads(capsys.readouterr().out)
    assert document["done"] is False
    assert says in document["detail"]
    assert rows() == ([], [], [])


@pytest.mark.usefixtures("numbers")
def test_pause_refuses_advance_and_allows_rollback(run: Run) -> None:
    run("advance", "orders", "--to", "shared.reads@1")
    assert run("pause", "orders", "--reason", "incident") == "orders is paused at shared.reads@1.\n"
    assert "(paused)" in run("status")
    with pytest.raises(CommandError, match="is paused by") as refused:
        run("advance", "orders")
    assert refused.value.returncode == 1
    assert "orders: shared.reads@1 -> shared.shadow" in run("rollback", "orders")
    assert "may advance" in run("resume", "orders")
    assert "shared.reads@1" in run("advance", "orders")


def test_rollback_all_the_way(run: Run) -> None:
    run("advance", "orders", "--to", "shared")
    assert json.loads(run("rollback", "orders", "--to", "monolith", "--json"))["after"] == "monolith"


def test_history_tells_who_what_and_on_which_evidence(run: Run) -> None:
    assert run("history", "orders") == "Nothing has happened yet.\n"
    run("advance", "orders", "--to", "shared.shadow", "--actor", "ann", "--reason", "start")
    run("advance", "orders", "--to", "shared.reads@1", "--actor", "ben")
    text = run("history", "orders")
    assert "shadow-match-rate pass (100000)" in text
    assert "reason: start" in text
    document = json.loads(run("history", "orders", "--json", "--limit", "2"))
    assert [(line["actor"], line["kind"]) for line in document["history"]] == [("ben", "taken"), ("ben", "operation")]
    begun = next(line for line in api_lines(run) if line["kind"] == "begun")
    assert begun["evidence"][0]["gate"] == "shadow-match-rate"


def api_lines(run: Run) -> list[dict[str, Any]]:
    """Return the whole history as the command gives it to machines."""
    lines: list[dict[str, Any]] = json.loads(run("history", "orders", "--json"))["history"]
    return lines
