"""Shadowing switches itself off, says so, and comes back; the customer notices nothing."""

import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.test import override_settings

from router import breaker, metrics
from router.shadow import guard, pool
from router.shadow.compare import Answer
from router.shadow.memory import Memory
from router.shadow.pool import ShadowPool
from router.shadow.report import as_json, as_text
from router.traffic_api import shadow_summary
from tests.router.test_shadow_memory import memory, write
from tests.router.test_shadow_pool import SETTINGS, STRANGLER, answer, counted, job


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    with override_settings(STRANGLER={**STRANGLER, "SHADOW": {"SLOW_WINDOW_SECONDS": 0.01}}):
        for module in (metrics, breaker, pool):
            module.reset()
        guard.use_memory(Memory(proc=Path("/nowhere"), cgroups=Path("/nowhere")))
        yield
        for module in (metrics, breaker, pool):
            module.reset()


@pytest.fixture
def shadows() -> Iterator[ShadowPool]:
    made = ShadowPool(SETTINGS)
    yield made
    assert made.stop(20)


def slow_down(side: str = "legacy") -> None:
    """Let a side answer as usual, and then ten times as slowly until it is noticed."""
    for _ in range(40):
        guard.observe("orders", "list", side, 0.01)
    for _ in range(100_000):
        guard.observe("orders", "list", side, 0.1)
        if guard.cause("orders", side):
            return
    pytest.fail("a side that takes ten times as long is not slow")


def recover(side: str = "legacy") -> None:
    for _ in range(1_000_000):
        guard.observe("orders", "list", side, 0.01)
        if not guard.cause("orders", side):
            return
    pytest.fail("a side that answers as usual is slow")


def test_nothing_is_compared_that_a_slow_side_answers(shadows: ShadowPool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="router.shadow"):
        slow_down()
        assert not shadows.submit(job())
        assert shadows.submit(job(answered_by="shared"))
        recover()
        assert shadows.submit(job())
        assert shadows.drain(20)
    assert counted() == {
        ("dropped", "slowed_down"): 1,
        ("match", ""): 2,
        ("switched", "off:slowed_down"): 1,
        ("switched", "on:slowed_down"): 1,
    }
    told = [record for record in caplog.records if "shadowing of" in record.getMessage()]
    assert [record.levelname for record in told] == ["WARNING", "INFO"]
    (times,) = re.findall(r"legacy takes (\S+) times as long as usual", told[0].getMessage())
    assert 2 <= float(times) <= 10


@pytest.mark.django_db
def test_the_report_says_how_often() -> None:
    slow_down()
    recover()
    metrics.flush()
    summary = shadow_summary("orders", datetime.now(UTC) - timedelta(hours=1))
    assert summary.switched == {"off:slowed_down": 1, "on:slowed_down": 1}
    assert "  switched    off for slowed_down 1, on for slowed_down 1" in as_text(summary)
    assert as_json(summary)["switched"] == summary.switched


def test_what_is_queued_when_the_side_slows_down_is_dropped(shadows: ShadowPool) -> None:
    go, started = threading.Event(), threading.Semaphore(0)

    def ask() -> Answer:
        started.release()
        go.wait(5)
        return answer()

    for _ in range(2):
        shadows.submit(job(ask_copy=ask))
        assert started.acquire(timeout=20)
    shadows.submit(job())
    slow_down()
    go.set()
    assert shadows.drain(20)
    assert counted()["dropped", "slowed_down"] == 1


def test_memory_that_runs_short_stops_all_of_it(shadows: ShadowPool, tmp_path: Path) -> None:
    group = tmp_path / "cg"
    write(group, memory__max=100, memory__current=95, memory__stat="x 0")
    write(tmp_path / "proc" / "self", cgroup="0::/")
    guard.use_memory(memory(tmp_path))
    guard.look_at_memory()
    assert not shadows.submit(job(answered_by="own"))
    write(group, memory__current=50)
    guard.look_at_memory()
    assert guard.cause("orders", "own") == "memory", "it is read once a second at most"
    guard._state.looked = 0.0
    guard.look_at_memory()
    assert shadows.submit(job())
    assert shadows.drain(20)
    assert counted() == {
        ("dropped", "memory"): 1,
        ("match", ""): 1,
        ("switched", "off:memory"): 1,
        ("switched", "on:memory"): 1,
    }


def test_a_stopped_pool_leaves_no_thread_and_counts_what_it_leaves_undone() -> None:
    before = set(threading.enumerate())
    shadows = ShadowPool(replace(SETTINGS, workers=1))
    go, started = threading.Event(), threading.Event()

    def ask() -> Answer:
        started.set()
        go.wait(5)
        return answer()

    shadows.submit(job(ask_copy=ask))
    assert started.wait(5)
    shadows.submit(job())
    assert not shadows.stop(), "one is still at it"
    go.set()
    assert shadows.stop(20)
    assert not shadows.submit(job())
    assert set(threading.enumerate()) == before
    assert counted() == {("match", ""): 1, ("dropped", "stopped"): 2}


def test_new_settings_leave_none_of_the_old_threads() -> None:
    assert pool.submit(job())
    old = pool.current()
    assert old.drain(20)
    with override_settings(STRANGLER={**STRANGLER, "SHADOW": {"WORKERS": 1}}):
        assert pool.current() is not old
        assert old.stop(20)


def test_too_much_of_a_request_or_of_all_together_is_dropped(shadows: ShadowPool) -> None:
    assert not shadows.submit(job(request_bytes=SETTINGS.max_request_bytes + 1))
    small = ShadowPool(replace(SETTINGS, queue_bytes=10))
    assert not small.submit(job())
    assert counted() == {("dropped", "request_too_large"): 1, ("dropped", "queue_bytes"): 1}


def test_whatever_is_submitted_memory_is_bounded_and_given_back() -> None:
    """A service that hangs, answers of 100 kB, and another 3,000 comparisons."""
    shadows = ShadowPool(replace(SETTINGS, queue=10_000, queue_bytes=1_000_000, max_bytes=200_000))
    go = threading.Event()

    def ask() -> Answer:
        go.wait(10)
        return answer()

    accepted = [shadows.submit(job(given=answer("1" * 100_000), ask_copy=ask)) for _ in range(3_000)]
    assert sum(accepted) == 9
    assert 900_000 < shadows.budget.held <= 1_000_000
    go.set()
    assert shadows.stop(10)
    assert shadows.budget.held == 0
    assert counted()["dropped", "queue_bytes"] == 2_991
