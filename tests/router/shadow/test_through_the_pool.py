"""From a queued comparison to the counts in the database: rules, noise, and comparators that break."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import override_settings

from router import breaker, metrics, traffic_api
from router.comparing import Rules, within
from router.conf import ShadowSettings
from router.models import ShadowMismatch, TrafficCount
from router.shadow import applied, exclusions, findings, pool
from router.shadow.compare import Answer
from router.shadow.noise import WARMING_UP
from router.shadow.pool import ShadowPool
from router.shadow.runner import Job
from router.shadow.verdicts import RouteCounts
from tests.router.shadow.recordings import answer

pytestmark = pytest.mark.django_db(transaction=True)
STRANGLER = {"SERVICES": {"orders": {"UPSTREAMS": {"shared": "http://127.0.0.1:1"}}}, "POLLER": False}


@pytest.fixture
def shadows() -> Iterator[ShadowPool]:
    """A pool that asks for noise each time it may."""
    with override_settings(STRANGLER=STRANGLER):
        for module in (metrics, breaker, pool):
            module.reset()
        applied.forget()
        made = ShadowPool(ShadowSettings(workers=1, noise_share=1.0))
        yield made
        made.stop()
        for module in (metrics, breaker, pool):
            module.reset()
        applied.forget()


def job(service: Any, legacy: Any = None, **changes: Any) -> Job:
    """Return a comparison of what two functions of the number of the question say."""
    asked = [itertools.count(), itertools.count(1)]
    of_legacy = legacy or (lambda i: {"total": "1.00"})
    plain = Job(
        service="orders",
        store="shared",
        route="list",
        method="GET",
        path="/api/orders/",
        given=answer(of_legacy(0)),
        ask_copy=lambda: answer(service(next(asked[0]))),
        ask_again=lambda: answer(of_legacy(next(asked[1]))),
    )
    return replace(plain, **changes)


def counted(shadows: ShadowPool) -> RouteCounts:
    assert shadows.drain(20)
    metrics.flush()
    [found] = findings.counts("orders", datetime.now(UTC) - timedelta(minutes=5))
    return found


def test_noise_and_defects_are_counted_by_field(shadows: ShadowPool) -> None:
    for _ in range(WARMING_UP + 5):
        shadows.submit(job(lambda i: {"total": "9.00", "eta": f"s{i}"}, lambda i: {"total": "1.00", "eta": f"l{i}"}))
    found = counted(shadows)
    assert (found.compared, found.differed, found.asked_twice) == (WARMING_UP + 5, WARMING_UP + 5, 5)
    assert {one.field: (one.raw, one.stayed, one.noise) for one in found.fields} == {
        "total": (WARMING_UP + 5, WARMING_UP + 5, 0),
        "eta": (WARMING_UP + 5, 0, 5),
    }
    assert ShadowMismatch.objects.first().fields == ["total"]  # type: ignore[union-attr]


def test_what_was_wrong_at_first_only_can_be_looked_at(shadows: ShadowPool) -> None:
    shadows.submit(job(lambda i: {"total": "1.00" if i else "9.00"}))
    [field] = counted(shadows).fields
    assert (field.field, field.raw, field.stayed, field.unsteady) == ("total", 1, 0, 1)
    example = ShadowMismatch.objects.get()
    assert (example.outcome, example.differences[0]["extracted"]) == (ShadowMismatch.UNSTEADY, "9.00")
    assert traffic_api.shadow_summary("orders", example.at - timedelta(minutes=5)).worst_fields == ()


def test_declared_and_recorded_rules_hold_together(shadows: ShadowPool) -> None:
    exclusions.ignore("orders", "eta", route="", reason="an estimate", by="ann")
    rules = Rules(tolerances={"total": within("0.01")})
    shadows.submit(job(lambda i: {"total": "1.01", "eta": i}, rules=rules))
    assert (counted(shadows).differed, ShadowMismatch.objects.count()) == (0, 0)


def test_a_comparator_that_raises_is_a_dropped_comparison(shadows: ShadowPool) -> None:
    def broken(value: Any) -> Any:
        raise KeyError("bug in a rule")

    shadows.submit(job(lambda i: {"total": "2.00"}, rules=Rules(normalise={"total": broken})))
    shadows.submit(job(lambda i: {"total": "1.00"}))
    assert counted(shadows).compared == 1
    dropped = TrafficCount.objects.get(outcome="dropped")
    assert (dropped.cause, dropped.side) == ("comparator", "shadow")


def test_a_write_is_never_asked_twice() -> None:
    plain = job(lambda i: {}, method="POST", given=Answer(status=201, content_type="", body=b""))
    assert not any(applied.prepared(plain, ShadowSettings(noise_share=1.0)).ask_twice for _ in range(2 * WARMING_UP))
