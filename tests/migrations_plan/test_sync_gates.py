"""Every row of the gates' tables is a parameter; no database."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from migrations_plan.builders import SeparateGates, monolith, separate, shared
from migrations_plan.gates import Comparisons, Gate, GateResult, Outcome, ShadowMatchRate, Subject
from migrations_plan.plan import Plan
from migrations_plan.standing import BackfillProgress, Homecoming, SyncStanding, Verified
from migrations_plan.sync_gates import (
    BackfillDone,
    BucketsThere,
    CaptureIntact,
    NothingParked,
    SyncBackCaughtUp,
    SyncCaughtUp,
    SyncVerified,
)
from tests.migrations_plan.fakes import IN_SYNC, NOW, FakeMeasurements

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
SUBJECT = Subject(service="orders", step="separate.sync", store="shared", since=NOW - timedelta(minutes=5))
OUT = IN_SYNC.ways[0]
WRONG = replace(IN_SYNC, missing_triggers=("a (missing)", "b (disabled)"))
HALF = BackfillProgress(marked=20, total=80, finished=False)


def measured(gate: Gate, standing: SyncStanding = IN_SYNC, verified: Verified | None = None) -> GateResult:
    return gate.measure(SUBJECT, FakeMeasurements(present=NOW, synced=standing, verified=verified))


def with_way(**values: Any) -> SyncStanding:
    return replace(IN_SYNC, ways=(replace(OUT, **values), IN_SYNC.ways[1]))


CAPTURE = CaptureIntact(aggregate="orders")
BACKFILL = BackfillDone(aggregate="orders")
CAUGHT_UP = SyncCaughtUp(aggregate="orders", max_lag_seconds=2.0, min_samples=100)
PARKED = NothingParked(aggregate="orders")
THERE = BucketsThere(aggregate="orders", percent=10)
TEN = replace(IN_SYNC, owners={"owner": 90, "replica": 10})

STANDINGS: list[tuple[Gate, SyncStanding, Outcome, int, int, str]] = [
    (CAPTURE, IN_SYNC, PASS, 1, 1, "All triggers of orders are in place."),
    (CAPTURE, replace(IN_SYNC, captured=False), FAIL, 0, 1, "are not installed; `sync install orders` puts them back."),
    (
        CAPTURE,
        replace(IN_SYNC, missing_triggers=("a (missing)", "b (disabled)")),
        FAIL,
        0,
        1,
        "a (missing), b (disabled)",
    ),
    (BACKFILL, IN_SYNC, PASS, 500, 0, "All 500 orders that were there are marked."),
    (BACKFILL, replace(IN_SYNC, backfill=None), INCONCLUSIVE, 0, 1, "`sync backfill orders` begins one"),
    (BACKFILL, replace(IN_SYNC, backfill=HALF), INCONCLUSIVE, 20, 80, "20 of 80 orders are marked (25%)"),
    (
        BACKFILL,
        replace(IN_SYNC, backfill=BackfillProgress(marked=0, total=0, finished=False)),
        INCONCLUSIVE,
        0,
        1,
        "0 of 0 orders are marked;",
    ),
    (BACKFILL, replace(IN_SYNC, backfill=BackfillProgress(marked=0, total=0, finished=True)), PASS, 0, 0, "All 0"),
    (CAUGHT_UP, IN_SYNC, PASS, 5_000, 100, "99 % of 5000 changes arrived within 0.20 s."),
    (CAUGHT_UP, with_way(waiting=3, oldest_seconds=1.9), PASS, 5_000, 100, "within 0.20 s"),
    (
        CAUGHT_UP,
        with_way(waiting=3, oldest_seconds=2.1),
        FAIL,
        5_000,
        100,
        "3 changes are on their way, one of them for 2.1 s",
    ),
    (CAUGHT_UP, with_way(lag_p99=2.1), FAIL, 5_000, 100, "within 2.10 s; 2 s are allowed."),
    (CAUGHT_UP, with_way(lag_samples=99), INCONCLUSIVE, 99, 100, "1 change is missing."),
    (CAUGHT_UP, with_way(lag_samples=0, lag_p99=None), INCONCLUSIVE, 0, 100, "100 changes are missing."),
    (CAUGHT_UP, with_way(lag_samples=1, lag_p99=60.0), INCONCLUSIVE, 1, 100, "99 changes are missing."),
    (CAUGHT_UP, with_way(held=1), FAIL, 5_000, 100, "1 changes were not accepted; `sync waiting orders`"),
    (CAUGHT_UP, replace(IN_SYNC, parked=2), FAIL, 5_000, 100, "2 changes were not accepted"),
    (PARKED, IN_SYNC, PASS, 0, 0, "Both sides have accepted everything."),
    (PARKED, replace(IN_SYNC, parked=2), FAIL, 0, 0, "has not accepted 0 documents, legacy 2; `sync waiting orders`"),
    (PARKED, with_way(held=3), FAIL, 0, 0, "has not accepted 3 documents, legacy 0"),
    (THERE, TEN, PASS, 10, 10, "The service owns 10 of 10 buckets."),
    (THERE, replace(IN_SYNC, owners={"owner": 91, "replica": 9}), FAIL, 9, 10, "The service owns 9 of 10 buckets."),
    (THERE, replace(TEN, between=1), FAIL, 10, 10, "1 are in between; `sync resume orders` goes on with them."),
    (CAUGHT_UP, replace(IN_SYNC, ways=()), INCONCLUSIVE, 0, 100, "legacy->extracted"),
    (
        replace(CAUGHT_UP, min_samples=0),
        with_way(lag_samples=0, lag_p99=None),
        INCONCLUSIVE,
        0,
        1,
        "1 change is missing.",
    ),
]


@pytest.mark.parametrize(("gate", "standing", "outcome", "samples", "minimum", "says"), STANDINGS)
def test_how_sync_stands(
    gate: Gate, standing: SyncStanding, outcome: Outcome, samples: int, minimum: int, says: str
) -> None:
    result = measured(gate, standing)
    assert (result.outcome, result.samples, result.minimum) == (outcome, samples, minimum)
    assert says in result.detail


@pytest.mark.parametrize("gate", [CAPTURE, BACKFILL, CAUGHT_UP])
def test_what_cannot_be_known_is_inconclusive_and_told(gate: Gate) -> None:
    result = measured(gate, replace(IN_SYNC, problem="No aggregate 'orders' is declared here."))
    assert (result.outcome, result.detail) == (INCONCLUSIVE, "No aggregate 'orders' is declared here.")


BACK = SyncBackCaughtUp(aggregate="orders", max_lag_seconds=2.0, min_samples=100, max_waiting=5)


@pytest.mark.parametrize(
    ("way", "coming", "outcome", "says"),
    [
        ({}, {}, PASS, "99 % of 5000 changes arrived within 0.20 s."),
        ({}, {"waiting": 5}, PASS, "within 0.20 s"),
        ({}, {"waiting": 6}, FAIL, "6 changes at the service have not come home; 5 are allowed."),
        ({}, {"problems": ("It is down.",)}, FAIL, "It is down."),
        ({"lag_p99": 3.0}, {}, FAIL, "within 3.00 s; 2 s are allowed."),
        ({"lag_samples": 0, "lag_p99": None}, {}, INCONCLUSIVE, "100 changes are missing."),
    ],
)
def test_the_way_back(way: dict[str, Any], coming: dict[str, Any], outcome: Outcome, says: str) -> None:
    standing = replace(IN_SYNC, ways=(OUT, replace(IN_SYNC.ways[1], **way)))
    numbers = FakeMeasurements(present=NOW, synced=standing, coming=Homecoming(aggregate="orders", **coming))
    result = BACK.measure(SUBJECT, numbers)
    assert (result.gate, result.outcome) == ("sync-back-caught-up", outcome)
    assert says in result.detail


def test_copies_back_are_compared_with_the_store_that_is_named() -> None:
    numbers = FakeMeasurements(present=NOW, compared=Comparisons(compared=1_000, matched=1_000))
    gate = ShadowMatchRate(min_samples=500, min_rate=0.99, store="shared")
    result = gate.measure(replace(SUBJECT, shadow_store="own"), numbers)
    assert (result.gate, result.outcome, numbers.asked_stores) == ("shadow-match-rate-shared", PASS, ["shared"])
    assert gate.describe() == "at least 99.00% of 500 or more answers compared with the store shared match"


VERIFIED = Verified(
    started_at=NOW - timedelta(minutes=4),
    finished_at=NOW - timedelta(minutes=3),
    compared=200,
    corrupt=0,
    unresolved=0,
)
GATE = SyncVerified(aggregate="orders", min_compared=200, max_age=timedelta(minutes=3))


@pytest.mark.parametrize(
    ("found", "outcome", "samples", "says"),
    [
        (None, INCONCLUSIVE, 0, "never compared; `sync verify orders`"),
        (VERIFIED, PASS, 200, "200 orders were compared on both sides, and nothing is wrong."),
        (replace(VERIFIED, started_at=SUBJECT.since), PASS, 200, "nothing is wrong"),
        (
            replace(VERIFIED, started_at=SUBJECT.since - timedelta(seconds=1)),
            INCONCLUSIVE,
            0,
            "before separate.sync was entered; `sync verify orders`",
        ),
        (
            replace(VERIFIED, finished_at=NOW - timedelta(minutes=3, seconds=1)),
            INCONCLUSIVE,
            0,
            "3 min ago; `sync verify orders`",
        ),
        (replace(VERIFIED, compared=199), INCONCLUSIVE, 199, "1 comparison is missing"),
        (replace(VERIFIED, corrupt=1), FAIL, 200, "1 are corrupt; `sync verify orders --repair`"),
        (replace(VERIFIED, compared=10, corrupt=1), FAIL, 10, "1 are corrupt"),
        (replace(VERIFIED, unresolved=2), INCONCLUSIVE, 200, "2 of them were still on their way"),
    ],
)
def test_verified(found: Verified | None, outcome: Outcome, samples: int, says: str) -> None:
    result = measured(GATE, verified=found)
    assert (result.outcome, result.samples, result.minimum) == (outcome, samples, 200)
    assert says in result.detail


def test_comparing_nothing_proves_nothing() -> None:
    result = measured(replace(GATE, min_compared=0), verified=replace(VERIFIED, compared=0))
    assert (result.outcome, result.minimum) == (INCONCLUSIVE, 1)


# --- the standard phase --------------------------------------------------------------------------------------
PLAN = Plan(service="orders", phases=(monolith(), shared(), separate(aggregate="orders")))


@pytest.mark.parametrize(
    ("step", "gates"),
    [
        ("separate.sync", ["backfill-done", "capture-intact", "sync-caught-up", "sync-verified"]),
        (
            "separate.shadow",
            [
                "shadow-match-rate",
                "capture-intact",
                "sync-caught-up",
                "sync-verified",
                "breaker-closed-own",
                "upstream-healthy-own",
            ],
        ),
        (
            "separate.cutover@10",
            [
                "buckets-there",
                "capture-intact",
                "sync-caught-up",
                "sync-back-caught-up",
                "nothing-parked",
                "sync-verified",
                "read-error-rate",
                "write-error-rate",
                "breaker-closed-own",
                "upstream-healthy-own",
            ],
        ),
        (
            "separate.cutover@100",
            [
                "buckets-there",
                "capture-intact",
                "sync-back-caught-up",
                "nothing-parked",
                "sync-verified",
                "read-error-rate",
                "write-error-rate",
                "breaker-closed-own",
                "upstream-healthy-own",
            ],
        ),
        (
            "separate.bake",
            [
                "buckets-there",
                "shadow-match-rate-legacy",
                "capture-intact",
                "sync-back-caught-up",
                "nothing-parked",
                "sync-verified",
                "breaker-closed-own",
                "dwell-time",
            ],
        ),
    ],
)
def test_what_holds_each_step_back(step: str, gates: list[str]) -> None:
    assert [gate.name for gate in PLAN.find(step).gates] == gates


def test_the_proof_asked_for_is_the_projects() -> None:
    gates = SeparateGates(max_lag_seconds=0.5, lag_samples=7, min_compared=9, verified_within=timedelta(minutes=1))
    found = {gate.name: gate for gate in separate(aggregate="things", gates=gates).steps[0].gates}
    assert found["sync-caught-up"] == SyncCaughtUp(aggregate="things", max_lag_seconds=0.5, min_samples=7)
    assert found["sync-verified"] == SyncVerified(aggregate="things", min_compared=9, max_age=timedelta(minutes=1))


@pytest.mark.parametrize(("percent", "out", "back"), [(1, 99, 1), (10, 90, 10), (50, 50, 50), (100, None, 100)])
def test_changes_are_wanted_of_each_side_by_its_share(percent: int, out: int | None, back: int) -> None:
    found = {gate.name: gate for gate in PLAN.find(f"separate.cutover@{percent}").gates}
    assert getattr(found.get("sync-caught-up"), "min_samples", None) == out
    assert getattr(found["sync-back-caught-up"], "min_samples", None) == back


def test_the_second_store_is_asked_about_and_not_the_one_that_answers() -> None:
    numbers = FakeMeasurements(present=NOW)
    subject = replace(SUBJECT, step="separate.shadow", shadow_store="own")
    for gate in PLAN.find("separate.shadow").gates:
        gate.measure(subject, numbers)
    assert numbers.asked_stores == ["own", "own", "own"]
