"""Every row of the gates' tables is a parameter; no database."""

from datetime import timedelta

import pytest

from migrations_plan.confidence import samples_for, wilson
from migrations_plan.gates import (
    BreakerClosed,
    Calls,
    Comparisons,
    DwellTime,
    HealthReport,
    Outcome,
    ShadowMatchRate,
    Subject,
    UpstreamErrorRate,
    UpstreamHealthy,
)
from tests.migrations_plan.fakes import NOW, FakeMeasurements

SUBJECT = Subject(service="orders", step="shared.shadow", store="shared", since=NOW - timedelta(minutes=5))
PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("compared", "matched", "outcome", "minimum", "says"),
    [
        (0, 0, INCONCLUSIVE, 300, "No answer was compared since shared.shadow was entered; 300 are needed."),
        (299, 299, INCONCLUSIVE, 300, "1 comparison is missing."),
        (10, 0, INCONCLUSIVE, 300, "290 comparisons are missing."),
        (300, 300, PASS, 300, "300 of 300 compared answers match"),
        (300, 200, FAIL, 300, "99.00% is needed. Most often different: total, note."),
        (300, 296, INCONCLUSIVE, 888, "too close to 99.00% to tell: 588 more comparisons"),
        (5000, 4990, PASS, 300, "4990 of 5000"),
        (5000, 4900, FAIL, 300, "99.00% is needed"),
    ],
)
def test_shadow_match_rate(compared: int, matched: int, outcome: Outcome, minimum: int, says: str) -> None:
    numbers = FakeMeasurements(
        present=NOW, compared=Comparisons(compared=compared, matched=matched, worst=("total", "note"))
    )
    result = ShadowMatchRate(min_samples=300, min_rate=0.99).measure(SUBJECT, numbers)
    assert (result.outcome, result.samples, result.minimum) == (outcome, compared, minimum)
    assert says in result.detail
    assert result.missing == max(0, minimum - compared)


@pytest.mark.parametrize(
    ("found", "strict", "outcome", "says"),
    [
        ({"failing": ("list: total",)}, True, FAIL, "by more than noise differ: list: total."),
        ({"failing": ("list: total",)}, False, PASS, "4999 of 5000"),
        ({"noisy": ("list: eta",)}, True, INCONCLUSIVE, "list: eta. Say with a comparison rule"),
        ({"failing": ("list: total",), "noisy": ("list: eta",)}, True, FAIL, "list: total"),
    ],
)
def test_what_is_known_of_fields_counts_besides_the_rate(
    found: dict[str, tuple[str, ...]], strict: bool, outcome: Outcome, says: str
) -> None:
    numbers = FakeMeasurements(present=NOW, compared=Comparisons(compared=5000, matched=4999, **found))
    result = ShadowMatchRate(min_samples=300, min_rate=0.99, strict=strict).measure(SUBJECT, numbers)
    assert result.outcome is outcome
    assert says in result.detail


def test_a_minimum_below_what_the_rate_needs_is_raised() -> None:
    gate = ShadowMatchRate(min_samples=1, min_rate=0.99)
    assert gate.minimum == samples_for(0.99) == 268
    assert gate.measure(SUBJECT, FakeMeasurements(compared=Comparisons(compared=50, matched=50))).missing == 218


def test_a_rate_of_one_allows_no_mismatch_and_needs_no_confidence() -> None:
    gate = ShadowMatchRate(min_samples=10, min_rate=1.0)
    perfect = FakeMeasurements(compared=Comparisons(compared=10, matched=10))
    spoiled = FakeMeasurements(compared=Comparisons(compared=1000, matched=999))
    assert gate.measure(SUBJECT, perfect).outcome is PASS
    assert gate.measure(SUBJECT, spoiled).outcome is FAIL


def test_dropped_comparisons_are_told_when_there_is_nothing_else() -> None:
    numbers = FakeMeasurements(compared=Comparisons(compared=0, matched=0, dropped=40))
    assert (
        "40 comparisons were dropped" in ShadowMatchRate(min_samples=1, min_rate=0.5).measure(SUBJECT, numbers).detail
    )


@pytest.mark.parametrize(
    ("total", "failed", "outcome", "minimum", "says"),
    [
        (0, 0, INCONCLUSIVE, 50, "No read was diverted since shared.shadow was entered; 50 are needed."),
        (49, 0, INCONCLUSIVE, 50, "1 read is missing"),
        (49, 49, INCONCLUSIVE, 50, "1 read is missing"),
        (50, 0, PASS, 50, "0 of 50 diverted reads failed"),
        (50, 1, PASS, 50, "1 of 50"),
        (50, 2, INCONCLUSIVE, 100, "50 reads without one more failure would show it"),
        (100, 2, PASS, 50, "2 of 100"),
        (50, 20, FAIL, 50, "at most 2.00% may"),
        (10_000, 300, FAIL, 50, "300 of 10000"),
    ],
)
def test_upstream_error_rate(total: int, failed: int, outcome: Outcome, minimum: int, says: str) -> None:
    numbers = FakeMeasurements(called={"read": Calls(total=total, failed=failed)})
    result = UpstreamErrorRate(kind="read", min_samples=50, max_rate=0.02).measure(SUBJECT, numbers)
    assert (result.outcome, result.samples, result.minimum) == (outcome, total, minimum)
    assert says in result.detail


def test_an_error_rate_of_zero_is_kept_to() -> None:
    gate = UpstreamErrorRate(kind="write", min_samples=0, max_rate=0.0)
    assert gate.measure(SUBJECT, FakeMeasurements()).outcome is INCONCLUSIVE
    one = FakeMeasurements(called={"write": Calls(total=100, failed=1)})
    assert gate.measure(SUBJECT, one).outcome is FAIL


@pytest.mark.parametrize(
    ("states", "outcome"),
    [
        ({}, PASS),
        ({"web:1": "closed", "web:2": "closed"}, PASS),
        ({"web:1": "closed", "web:2": "open"}, FAIL),
        ({"web:1": "half-open"}, FAIL),
    ],
)
def test_breaker_closed(states: dict[str, str], outcome: Outcome) -> None:
    result = BreakerClosed().measure(SUBJECT, FakeMeasurements(breaker_states=states))
    assert result.outcome is outcome
    assert result.passed == ("not closed" not in result.detail)


@pytest.mark.parametrize(("ok", "outcome"), [(True, PASS), (False, FAIL)])
def test_upstream_healthy(ok: bool, outcome: Outcome) -> None:
    numbers = FakeMeasurements(ready=HealthReport(ok=ok, detail="connection refused"))
    result = UpstreamHealthy().measure(SUBJECT, numbers)
    assert result.outcome is outcome
    assert "orders (shared): connection refused" in result.detail


@pytest.mark.parametrize(("seconds", "outcome", "missing"), [(299, PASS, 0), (300, PASS, 0), (301, INCONCLUSIVE, 1)])
def test_dwell_time(seconds: int, outcome: Outcome, missing: int) -> None:
    result = DwellTime(seconds=seconds).measure(SUBJECT, FakeMeasurements(present=NOW))
    assert (result.outcome, result.missing) == (outcome, missing)


def test_results_are_dated_and_expire_and_the_window_begins_with_the_step() -> None:
    numbers = FakeMeasurements(present=NOW)
    result = UpstreamErrorRate(kind="read", min_samples=5, max_rate=0.1).measure(SUBJECT, numbers)
    assert (result.measured_at, result.expires_at) == (NOW, NOW + timedelta(minutes=10))
    assert numbers.asked_since == [SUBJECT.since]


def test_the_interval_holds_the_rate_and_narrows() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    few, many = wilson(9, 10), wilson(900, 1000)
    assert few[0] < 0.9 < few[1]
    assert few[0] < many[0] < 0.9 < many[1] < few[1]
    assert wilson(10, 10)[1] == 1.0


@pytest.mark.parametrize(("rate", "misses"), [(0.99, 0), (0.99, 4), (0.5, 0), (0.5, 3), (0.999, 1)])
def test_the_samples_it_takes_are_the_fewest_that_do(rate: float, misses: int) -> None:
    needed = samples_for(rate, misses)
    assert wilson(needed - misses, needed)[0] >= rate
    assert wilson(needed - 1 - misses, needed - 1)[0] < rate
