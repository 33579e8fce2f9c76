"""Counting in memory and writing in the background."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection

from router import metrics, poller
from router.metrics import Outcome
from router.models import BreakerEvent, TrafficCount

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def nothing_counted() -> Iterator[None]:
    """Begin and end with nothing counted."""
    metrics.reset()
    yield
    metrics.reset()


def count(times: int = 1, **changes: Any) -> None:
    """Count some requests."""
    values = {"service": "orders", "route": "list", "kind": "read", "side": "legacy", "outcome": Outcome.OK}
    for _ in range(times):
        metrics.record(**{**values, "seconds": 0.01, **changes})


def test_threads_lose_no_count() -> None:
    threads = [threading.Thread(target=count, args=(2_000,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert metrics.pending() == 16_000


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1e-9, 1e-6, 0.5, 200.0, 1e9])
def test_any_duration_has_a_place(seconds: float) -> None:
    count(seconds=seconds)
    assert metrics.pending() == 1


@pytest.mark.parametrize("seconds", [2e-5, 0.001, 0.0123, 0.9, 4.0])
def test_quantiles_are_close(seconds: float) -> None:
    count(100, seconds=seconds)
    [slots] = metrics._counters.slots.values()
    found = metrics.quantile(dict(enumerate(slots)), 0.5)
    assert found == pytest.approx(seconds, rel=0.2)


def test_quantiles_of_a_mixture() -> None:
    histogram = {40: 98, 60: 2}
    median, tail = metrics.quantile(histogram, 0.5), metrics.quantile(histogram, 0.99)
    assert median is not None
    assert tail is not None
    assert metrics.seconds_of(40) <= median <= metrics.seconds_of(41)
    assert metrics.seconds_of(60) <= tail <= metrics.seconds_of(61)
    assert metrics.quantile({}, 0.5) is None


@pytest.mark.django_db
def test_flush_inserts_rows_and_never_updates() -> None:
    count(3)
    count(side="extracted", kind="write", outcome=Outcome.FALLBACK_NOT_SENT, cause="connect_refused", seconds=0.2)
    metrics.flush()
    count(2)
    metrics.flush()
    rows = list(TrafficCount.objects.order_by("pk").values_list("kind", "side", "outcome", "cause", "count"))
    assert rows == [
        ("read", "legacy", "ok", "", 3),
        ("write", "extracted", "fallback_not_sent", "connect_refused", 1),
        ("read", "legacy", "ok", "", 2),
    ]
    row = TrafficCount.objects.earliest("pk")
    assert sum(row.histogram.values()) == 3
    assert row.process == metrics.process_name()
    assert row.at.tzinfo is not None


@pytest.mark.django_db
def test_flushing_nothing_asks_nothing(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        metrics.flush()
        metrics.flush_if_due()


@pytest.mark.django_db
def test_a_failed_flush_keeps_everything_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    count(3)
    metrics.record_event(service="orders", upstream="orders.shared", previous="closed", state="open", reason="x")
    with monkeypatch.context() as broken:
        broken.setattr(TrafficCount.objects, "bulk_create", _unavailable)
        with pytest.raises(DatabaseError):
            metrics.flush()
        count(2)
        metrics.record_event(service="orders", upstream="orders.shared", previous="open", state="half-open", reason="y")
        with pytest.raises(DatabaseError):
            metrics.flush()
    assert metrics.pending() == 5
    metrics.flush()
    assert TrafficCount.objects.get().count == 5
    assert list(BreakerEvent.objects.order_by("pk").values_list("state", flat=True)) == ["open", "half-open"]
    assert metrics.pending() == 0


def _unavailable(*args: Any, **kwargs: Any) -> None:
    raise DatabaseError("the database is gone")


def test_events_are_bounded() -> None:
    for number in range(metrics.MAX_EVENTS + 10):
        metrics.record_event(service="s", upstream="u", previous="a", state="b", reason=str(number))
    assert len(metrics._counters.events) == metrics.MAX_EVENTS
    assert metrics._counters.events[-1].reason == str(metrics.MAX_EVENTS + 9)


@pytest.mark.django_db
def test_the_poller_flushes() -> None:
    metrics.install()
    count(4)
    poller.run_periodic()
    assert TrafficCount.objects.get().count == 4


@pytest.mark.django_db
def test_flushes_keep_their_distance() -> None:
    count()
    metrics.flush_if_due()
    count()
    metrics.flush_if_due()
    assert (TrafficCount.objects.count(), metrics.pending()) == (1, 1)


def test_a_forked_child_does_not_write_the_parents_counts() -> None:
    count(5)
    pid = os.fork()
    if pid == 0:
        os._exit(metrics.pending())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert metrics.pending() == 5


@pytest.mark.django_db(transaction=True)
def test_what_is_left_is_written_when_the_process_ends() -> None:
    script = (
        "import django, sys, json; django.setup()\n"
        "from django.conf import settings; from django.db import connections\n"
        "connections.databases['default'].update(json.loads(sys.argv[1]))\n"
        "from router import metrics\n"
        "metrics.record(service='orders', route='r', kind='read', side='legacy', outcome='ok', seconds=0.1)\n"
    )
    name = json.dumps({"NAME": str(connection.settings_dict["NAME"])})
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-c", script, name], cwd=ROOT, env=environment, check=True, timeout=30)
    assert TrafficCount.objects.get().count == 1
