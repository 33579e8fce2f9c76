"""What gates, commands and pages get to know about traffic."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from router import api, breaker, metrics
from router.metrics import Outcome
from router.models import BreakerEvent, ShadowFieldCount, ShadowMismatch, TrafficCount
from router.shadow.report import as_json, as_text
from router.snapshot import Snapshot
from router.testing import override_snapshot
from router.traffic_api import wilson
from router.upstreams import upstream_for
from tests.router.raw_server import answering, ok, raw_server

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
SINCE = NOW - timedelta(hours=1)


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Begin and end with nothing counted in memory."""
    metrics.reset()
    breaker.reset()
    with override_snapshot(Snapshot()):
        yield
    metrics.reset()
    breaker.reset()


def counts(kind: str, side: str, outcome: Outcome, count: int, **changes: Any) -> None:
    """Store counts as a process would have written them."""
    values = {"at": NOW, "process": "host:1", "service": "orders", "route": "list", "histogram": {"40": count}}
    TrafficCount.objects.create(kind=kind, side=side, outcome=outcome, count=count, **{**values, **changes})


def shadowed(outcome: Outcome, count: int, cause: str = "") -> None:
    """Store comparisons as a process would have written them."""
    counts("read", "shadow", outcome, count, cause=cause)


def mismatch(minute: int, *fields: str, **changes: Any) -> ShadowMismatch:
    """Store a mismatch."""
    values: dict[str, Any] = {
        "at": NOW - timedelta(minutes=minute),
        "service": "orders",
        "store": "shared",
        "route": "list",
        "method": "GET",
        "path": f"/api/orders/?minute={minute}",
        "outcome": "mismatch",
        "fields": list(fields),
        "differences": [{"path": field, "kind": "value", "legacy": "1", "extracted": "2"} for field in fields],
        "rounds": 1,
    }
    return ShadowMismatch.objects.create(**{**values, **changes})


class TestTraffic:
    def test_processes_and_flushes_are_added_up_per_kind_and_side(self) -> None:
        counts("read", "legacy", Outcome.OK, 5)
        counts("read", "legacy", Outcome.OK, 3, process="host:2")
        counts("read", "legacy", Outcome.FALLBACK_NOT_SENT, 2, cause="connect_refused")
        counts("write", "legacy", Outcome.FALLBACK_CLAIMED, 1)
        counts("write", "extracted", Outcome.OK, 7, histogram={"60": 7})
        counts("write", "extracted", Outcome.UNAVAILABLE, 1)
        counts("read", "shadow", Outcome.MATCH, 99)
        counts("read", "legacy", Outcome.OK, 1000, service="users")
        counts("read", "legacy", Outcome.OK, 1000, at=SINCE - timedelta(seconds=1))
        found = api.traffic("orders", SINCE)
        assert [(side.kind, side.side, side.requests) for side in found.sides] == [
            ("read", "legacy", 10),
            ("write", "extracted", 8),
            ("write", "legacy", 1),
        ]
        assert found.of("read", "legacy").outcomes == {"ok": 8, "fallback_not_sent": 2}
        assert found.fallbacks == {"connect_refused": 2, "fallback_claimed": 1}
        assert (found.requests, found.failed, found.until) == (19, 1, NOW)

    def test_quantiles_per_side(self) -> None:
        counts("read", "legacy", Outcome.OK, 100, histogram={"40": 98, "60": 2})
        counts("read", "extracted", Outcome.OK, 100, histogram={"48": 100})
        found = api.traffic("orders", SINCE)
        legacy, extracted = found.of("read", "legacy"), found.of("read", "extracted")
        assert legacy.p50_seconds == pytest.approx(metrics.seconds_of(40.5), rel=0.1)
        assert legacy.p99_seconds == pytest.approx(metrics.seconds_of(60.5), rel=0.1)
        assert extracted.p50_seconds == pytest.approx(metrics.seconds_of(48.5), rel=0.01)

    def test_no_traffic_is_no_latency(self) -> None:
        found = api.traffic("orders", SINCE)
        assert (found.requests, found.sides, found.until) == (0, (), None)
        assert found.of("read", "legacy").p99_seconds is None

    def test_what_this_process_counted_arrives(self) -> None:
        metrics.record(service="orders", route="r", kind="read", side="legacy", outcome=Outcome.OK, seconds=0.02)
        metrics.flush()
        found = api.traffic("orders", datetime.now(UTC) - timedelta(minutes=1))
        assert found.of("read", "legacy").p50_seconds == pytest.approx(0.02, rel=0.2)


class TestShadow:
    def test_summary(self) -> None:
        shadowed(Outcome.MATCH, 90)
        shadowed(Outcome.MATCH, 4)
        shadowed(Outcome.MISMATCH, 5)
        shadowed(Outcome.ERROR, 1, "first_byte_deadline")
        shadowed(Outcome.CHANGED, 25)
        shadowed(Outcome.DROPPED, 3, "queue_full")
        shadowed(Outcome.DROPPED, 2, "breaker_open")
        counts("read", "legacy", Outcome.OK, 500)
        for minute in range(4):
            mismatch(minute, "results[].total", *(["note"] if minute == 0 else []))
        mismatch(61, "old")
        found = api.shadow_summary("orders", SINCE, examples=2)
        assert (found.compared, found.matched, found.mismatched, found.errors, found.changed) == (100, 94, 5, 1, 25)
        assert found.match_rate == 0.94
        assert found.interval == pytest.approx((0.875, 0.972), abs=0.002)
        assert found.noise == 0.2
        assert found.dropped == {"queue_full": 3, "breaker_open": 2}
        assert found.error_causes == {"first_byte_deadline": 1}
        assert [(item.field, item.count) for item in found.worst_fields] == [("results[].total", 4), ("note", 1)]
        assert [example["path"] for example in found.examples] == [
            "/api/orders/?minute=0",
            "/api/orders/?minute=1",
        ]

    def test_nothing_compared_is_inconclusive_though_much_was_dropped(self) -> None:
        shadowed(Outcome.DROPPED, 300, "breaker_open")
        shadowed(Outcome.CHANGED, 3)
        found = api.shadow_summary("orders", SINCE)
        assert (found.match_rate, found.interval, found.conclusive) == (None, None, False)
        assert "inconclusive: no comparisons" in as_text(found)
        assert "100" not in as_text(found).split("match rate")[1].splitlines()[0]
        assert as_json(found)["match_rate"] is None

    def test_only_errors_are_no_match(self) -> None:
        shadowed(Outcome.ERROR, 4, "reset")
        assert api.shadow_summary("orders", SINCE).match_rate == 0.0

    @pytest.mark.parametrize(
        ("hits", "total", "low", "high"),
        [(0, 10, 0.0, 0.278), (10, 10, 0.722, 1.0), (50, 100, 0.404, 0.596), (1, 1, 0.207, 1.0)],
    )
    def test_wilson(self, hits: int, total: int, low: float, high: float) -> None:
        assert wilson(hits, total) == pytest.approx((low, high), abs=0.001)

    def test_wilson_of_nothing(self) -> None:
        assert wilson(0, 0) is None


class TestReport:
    def run(self, *arguments: str) -> str:
        """Run the command and return what it prints."""
        out = StringIO()
        call_command("shadow", "report", *arguments, stdout=out)
        return out.getvalue()

    def test_for_people(self) -> None:
        shadowed(Outcome.MATCH, 999)
        shadowed(Outcome.MISMATCH, 1)
        mismatch(3, "results[0].total")
        text = self.run("orders", "--hours", "1000000")
        assert "99.90% of 1000 (95 % interval 99.44% to 99.98%)" in text
        assert "results[0].total (value): legacy '1', service '2'" in text

    def test_for_machines(self) -> None:
        shadowed(Outcome.MATCH, 10)
        mismatch(3, "note")
        found = json.loads(self.run("orders", "--hours", "1000000", "--json"))
        assert (found["compared"], found["match_rate"], found["verdict"]) == (10, 1.0, "measured")
        assert found["examples"][0]["at"] == "2026-01-02T11:57:00+00:00"

    def test_nothing_compared(self) -> None:
        assert "inconclusive: no comparisons" in self.run("orders")
        assert json.loads(self.run("orders", "--json"))["verdict"] == "inconclusive: no comparisons"

    def test_unknown_service(self) -> None:
        with pytest.raises(CommandError, match="orders") as raised:
            self.run("nothing")
        assert raised.value.returncode == 2


class TestBreakers:
    def event(self, minute: int, state: str, process: str = "host:1", upstream: str = "orders.shared") -> None:
        """Store a change of state."""
        BreakerEvent.objects.create(
            at=NOW - timedelta(minutes=minute),
            process=process,
            service="orders",
            upstream=upstream,
            previous="closed" if state == "open" else "open",
            state=state,
            reason="refused",
        )

    def test_the_last_state_per_process(self) -> None:
        self.event(30, "open")
        self.event(20, "closed")
        self.event(10, "open", process="host:2")
        states = api.breaker_states("orders")
        assert [(item.process, item.state, item.since) for item in states] == [
            ("host:1", "closed", NOW - timedelta(minutes=20)),
            ("host:2", "open", NOW - timedelta(minutes=10)),
        ]

    @override_settings(STRANGLER={"SERVICES": {"orders": {"UPSTREAMS": {"shared": "http://127.0.0.1:1"}}}})
    def test_the_own_process_needs_no_flush(self) -> None:
        own = breaker.breaker_for(upstream_for("orders", "shared"))
        for _ in range(5):
            with pytest.raises(breaker.StranglerError), own.calling():
                raise breaker.StranglerError("down")
        assert [(item.upstream, item.state, item.reason) for item in api.breaker_states("orders")] == [
            ("orders.shared", "open", "down")
        ]

    def test_openings(self) -> None:
        self.event(90, "open")
        self.event(30, "open")
        self.event(20, "closed")
        self.event(10, "open", upstream="orders.shared.shadow")
        assert api.breaker_openings("orders", SINCE) == 1


class TestHealth:
    def ask(self, url: str) -> api.Health:
        """Ask the health of an upstream."""
        with override_settings(STRANGLER={"SERVICES": {"orders": {"UPSTREAMS": {"shared": url}}}}):
            return api.upstream_health("orders", "shared")

    def test_well(self) -> None:
        with raw_server(answering(ok(b"{}"))) as server:
            found = self.ask(f"http://127.0.0.1:{server.port}")
        assert (found.ok, found.status) == (True, 200)
        assert server.requests[0].startswith(b"GET /health/ready/ HTTP/1.1\r\nHost: 127.0.0.1:")

    def test_unwell(self) -> None:
        data = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
        with raw_server(answering(data)) as server:
            found = self.ask(f"http://127.0.0.1:{server.port}")
        assert (found.ok, found.status, found.detail) == (False, 503, "answered 503")

    def test_away(self) -> None:
        found = self.ask("http://127.0.0.1:1")
        assert (found.ok, found.status) == (False, None)
        assert "refused" in found.detail


class TestPurge:
    def test_what_is_old_goes(self) -> None:
        recent = datetime.now(UTC)
        for at in (recent, recent - timedelta(days=15)):
            counts("read", "legacy", Outcome.OK, 1, at=at)
            mismatch(0, at=at)
            ShadowFieldCount.objects.create(at=at, process="p", service="orders", store="own", route="r", raw=1)
            BreakerEvent.objects.create(
                at=at, process="p", service="orders", upstream="u", previous="closed", state="open", reason=""
            )
        out = StringIO()
        call_command("strangler_purge", stdout=out)
        assert out.getvalue().splitlines() == [
            "1 traffic counts deleted",
            "1 breaker events deleted",
            "1 shadow field counts deleted",
            "1 shadow mismatches deleted",
        ]
        assert [model.objects.get().at for model in (TrafficCount, BreakerEvent, ShadowMismatch)] == [recent] * 3

    def test_more_than_one_batch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("router.retention.BATCH", 2)
        for _ in range(5):
            counts("read", "legacy", Outcome.OK, 1)
        call_command("strangler_purge", "--days", "0", stdout=StringIO())
        assert TrafficCount.objects.count() == 0

    def test_negative_days(self) -> None:
        with pytest.raises(CommandError, match="below zero"):
            call_command("strangler_purge", "--days=-1")
