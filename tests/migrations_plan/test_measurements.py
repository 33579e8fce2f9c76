"""The numbers of the gates are those that the router's processes wrote down."""

from datetime import UTC, datetime, timedelta

import pytest

from migrations_plan.gates import Calls
from migrations_plan.measurements import RouterMeasurements
from router.models.traffic import BreakerEvent, TrafficCount

NOW = datetime.now(UTC)
SINCE = NOW - timedelta(minutes=1)


def count(
    side: str,
    outcome: str,
    number: int,
    *,
    kind: str = "read",
    age: int = 10,
    service: str = "orders",
    store: str = "",
) -> None:
    TrafficCount.objects.create(
        at=NOW - timedelta(seconds=age),
        process="web:1",
        service=service,
        route="detail",
        kind=kind,
        side=side,
        outcome=outcome,
        store=store,
        count=number,
    )


@pytest.mark.django_db
def test_diverted_requests_and_their_failures_are_counted_wherever_they_were_answered() -> None:
    for side, outcome, number in [
        ("extracted", "ok", 80),
        ("extracted", "client_error", 5),
        ("extracted", "server_error", 2),
        ("extracted", "replayed", 1),
        ("legacy", "ok", 1000),
        ("legacy", "server_error", 9),
        ("legacy", "fallback_not_sent", 3),
        ("legacy", "fallback_failed", 4),
        ("legacy", "fallback_claimed", 5),
        ("legacy", "unavailable", 6),
    ]:
        count(side, outcome, number)
    count("extracted", "ok", 7, kind="write")
    count("extracted", "server_error", 7, age=120)
    count("extracted", "server_error", 7, service="users")
    numbers = RouterMeasurements()
    assert numbers.calls("orders", "read", SINCE) == Calls(total=106, failed=21)
    assert numbers.calls("orders", "write", SINCE) == Calls(total=7, failed=0)
    assert numbers.calls("payments", "read", SINCE) == Calls(total=0, failed=0)


@pytest.mark.django_db
def test_errors_of_the_new_side_are_no_matches_and_noise_is_no_comparison() -> None:
    for outcome, number in [("match", 90), ("mismatch", 4), ("error", 6), ("changed", 50), ("dropped", 8)]:
        count("shadow", outcome, number, store="shared")
    found = RouterMeasurements().comparisons("orders", "shared", SINCE)
    assert (found.compared, found.matched, found.dropped) == (100, 90, 8)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("state", "age", "expected"),
    [
        ("open", 5, {"orders.shared in web:1": "open"}),
        ("half-open", 5, {"orders.shared in web:1": "half-open"}),
        ("open", 120, {}),
        ("closed", 5, {"orders.shared in web:1": "closed"}),
        ("closed", 120, {"orders.shared in web:1": "closed"}),
    ],
)
def test_a_breaker_not_heard_of_for_long_proves_nothing(state: str, age: int, expected: dict[str, str]) -> None:
    for upstream, seconds in (("orders.shared", age), ("orders.own", 1)):
        BreakerEvent.objects.create(
            at=datetime.now(UTC) - timedelta(seconds=seconds),
            process="web:1",
            service="orders",
            upstream=upstream,
            previous="closed",
            state=state,
            reason="",
        )
    found = RouterMeasurements().breakers("orders", "shared")
    assert {where: said for where, said in found.items() if "web:1" in where} == expected


def test_an_upstream_that_is_not_there_is_not_ready() -> None:
    assert not RouterMeasurements().health("orders", "shared").ok
    report = RouterMeasurements().health("orders", "moon")
    assert not report.ok
    assert "moon" in report.detail
