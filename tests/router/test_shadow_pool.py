"""The pool: bounded, counted, and never in the way of a request."""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.test import override_settings

from router import breaker, metrics
from router.conf import ShadowSettings
from router.metrics import Outcome
from router.models import ShadowMismatch
from router.shadow import pool, store
from router.shadow.compare import Answer, Difference
from router.shadow.pool import ShadowPool
from router.shadow.runner import Job, Verdict
from tests.processes import wait_until

SETTINGS = ShadowSettings(workers=2, queue=3, deadline_seconds=5.0, max_bytes=1000, keep=1000)
STRANGLER = {"SERVICES": {"orders": {"UPSTREAMS": {"shared": "http://127.0.0.1:1"}}}, "POLLER": False}


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Begin and end with nothing counted, no breaker and no pool."""
    with override_settings(STRANGLER=STRANGLER):
        for module in (metrics, breaker, pool):
            module.reset()
        yield
        for module in (metrics, breaker, pool):
            module.reset()


@pytest.fixture
def shadows() -> Iterator[ShadowPool]:
    """A pool of its own."""
    made = ShadowPool(SETTINGS)
    yield made
    made.stop()


def answer(value: Any = 1) -> Answer:
    """Return a JSON answer."""
    return Answer(status=200, content_type="application/json", body=f'{{"v": {value}}}'.encode())


def job(**changes: Any) -> Job:
    """Return a comparison that matches."""
    plain = Job(
        service="orders",
        store="shared",
        route="list",
        method="GET",
        path="/api/orders/?page=2&token=hidden",
        given=answer(),
        ask_copy=answer,
        ask_again=answer,
    )
    return replace(plain, **changes)


def counted() -> dict[tuple[str, str], int]:
    """Return what was counted, by outcome and cause."""
    found: dict[tuple[str, str], int] = {}
    for key, slots in dict(metrics._counters.slots).items():
        if key[3] == "shadow":
            found[str(key[4]), key[5]] = found.get((str(key[4]), key[5]), 0) + sum(slots)
    return found


def test_comparisons_are_made_in_the_background(shadows: ShadowPool) -> None:
    threads: set[int] = set()

    def ask() -> Answer:
        threads.add(threading.get_ident())
        return answer()

    for _ in range(3):
        assert shadows.submit(job(ask_copy=ask))
    assert shadows.drain(20)
    assert threading.get_ident() not in threads
    assert counted() == {("match", ""): 3}


def test_the_newest_are_dropped_when_the_queue_is_full(shadows: ShadowPool) -> None:
    go, started = threading.Event(), threading.Semaphore(0)

    def ask() -> Answer:
        started.release()
        go.wait(5)
        return answer()

    for _ in range(2):
        shadows.submit(job(ask_copy=ask))
        assert started.acquire(timeout=20)
    accepted = [shadows.submit(job()) for _ in range(5)]
    go.set()
    assert shadows.drain(20)
    assert accepted == [True, True, True, False, False]
    assert counted() == {("match", ""): 5, ("dropped", "queue_full"): 2}


def test_submitting_does_not_wait_for_a_slow_service(shadows: ShadowPool) -> None:
    go = threading.Event()
    started = time.monotonic()
    for _ in range(50):
        shadows.submit(job(ask_copy=lambda: (go.wait(5) and answer()) or answer()))
    assert time.monotonic() - started < 4
    go.set()
    assert shadows.drain(20)


def test_large_answers_are_dropped_before_they_are_queued(shadows: ShadowPool) -> None:
    assert not shadows.submit(job(given=answer("1" * 2000)))
    assert counted() == {("dropped", "too_large"): 1}


def test_what_waited_too_long_is_not_asked(shadows: ShadowPool) -> None:
    shadows.submit(job(submitted=time.monotonic() - 6, ask_copy=lambda: pytest.fail("asked")))
    assert shadows.drain(20)
    assert counted() == {("dropped", "expired"): 1}


def test_a_service_that_fails_switches_its_shadow_off_and_nothing_else(shadows: ShadowPool) -> None:
    def ask() -> Answer:
        raise breaker.StranglerError("down")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "save", lambda *args: None)
        for _ in range(8):
            shadows.submit(job(ask_copy=ask))
            assert shadows.drain(20)
    assert counted() == {("error", "StranglerError"): 5, ("dropped", "breaker_open"): 3}
    assert [(item.name, item.state) for item in breaker.breakers("orders")] == [("orders.shared.shadow", "open")]


def test_a_failing_store_stops_nothing(shadows: ShadowPool, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(store, "save", broken)
    shadows.submit(job(ask_copy=lambda: answer(2)))
    assert shadows.drain(20)
    shadows.submit(job())
    assert shadows.drain(20)
    assert counted() == {("mismatch", ""): 1, ("match", ""): 1}


def test_submit_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> ShadowPool:
        raise RuntimeError("no thread can be started")

    monkeypatch.setattr(pool, "current", broken)
    assert pool.submit(job()) is False


def test_what_is_asked_again_after_a_moment_holds_no_thread() -> None:
    """One thread; three comparisons that wait for their moment, a fourth for which there is no room, one to be made."""
    patient = ShadowPool(replace(SETTINGS, workers=1, lag_seconds=1_000.0))
    for _ in range(4):
        patient.submit(job(follows=True, ask_copy=lambda: answer(2)))
        wait_until(lambda: not patient._waiting._now, what="the comparison was taken")
    patient.submit(job())
    wait_until(lambda: ("match", "") in counted(), what="the comparison behind them was made")
    assert counted() == {("match", ""): 1, ("dropped", "queue_full"): 1}
    assert not patient.drain(0)
    patient.stop()
    assert patient.drain(20)


def test_what_had_to_wait_for_its_moment_is_not_too_old() -> None:
    quick = ShadowPool(replace(SETTINGS, lag_seconds=0.3, deadline_seconds=0.25))
    left = [answer(2), answer(1)]
    quick.submit(job(follows=True, ask_copy=lambda: left.pop(0)))
    assert quick.drain(10)
    assert counted() == {("changed", ""): 1}
    quick.stop()


def test_a_store_without_an_upstream_is_counted(shadows: ShadowPool) -> None:
    shadows.submit(job(store="own"))
    shadows.submit(job(service="moon"))
    assert shadows.drain(20)
    assert counted() == {("dropped", "misconfigured"): 2}


def test_the_pool_of_the_process_follows_the_settings() -> None:
    before = pool.current()
    assert pool.current() is before
    with override_settings(STRANGLER={**STRANGLER, "SHADOW": {"WORKERS": 1}}):
        assert pool.current() is not before


def test_a_forked_child_makes_threads_of_its_own() -> None:
    assert pool.submit(job())
    assert pool.current().drain(20)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if pool.submit(job()) and pool.current().drain(20) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


MISMATCH = Verdict(
    outcome=Outcome.MISMATCH,
    differences=(
        Difference(path="results[1].total", kind="value", legacy="1.00", extracted="2.00"),
        Difference(path="results[2].total", kind="value", legacy="1.00", extracted="2.00"),
        Difference(path="customer.email", kind="value", legacy="ann@example.org", extracted="bob@example.org"),
    ),
    rounds=1,
)


@pytest.mark.django_db
def test_what_is_stored_is_redacted() -> None:
    assert store.save(job(), MISMATCH, SETTINGS)
    row = ShadowMismatch.objects.get()
    assert row.path == "/api/orders/?page=2&token=[redacted]"
    assert row.fields == ["customer.email", "results[].total"]
    assert "example.org" not in str(row.differences)
    assert row.differences[0] == {
        "path": "results[1].total",
        "field": "results[].total",
        "kind": "value",
        "legacy": "1.00",
        "extracted": "2.00",
    }
    assert (row.outcome, row.rounds) == ("mismatch", 1)


@pytest.mark.django_db
def test_no_more_than_so_many_an_hour_and_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PER_HOUR", 3)
    saved = [bool(store.save(job(), MISMATCH, SETTINGS)) for _ in range(5)]
    assert saved == [True, True, True, False, False]
    assert store.save(job(service="users"), MISMATCH, SETTINGS)


@pytest.mark.django_db
def test_being_wrong_at_first_only_has_examples_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """They say which fields, they take no place of what stays different, and a match has none."""
    monkeypatch.setattr(store, "PER_HOUR", 3)
    monkeypatch.setattr(store, "UNSTEADY_PER_HOUR", 2)
    status = Difference(path="results[0].status", kind="value", legacy="new", extracted="sent")
    at_first = Verdict(outcome=Outcome.CHANGED, unsteady=(status,), rounds=1)
    assert [len(store.save(job(), at_first, SETTINGS)) for _ in range(4)] == [1, 1, 0, 0]
    ShadowMismatch.objects.first().delete()  # type: ignore[union-attr]
    both = replace(MISMATCH, unsteady=(status,))
    found = [[(one.outcome, one.fields) for one in store.save(job(), both, SETTINGS)] for _ in range(2)]
    stays = ("mismatch", ["customer.email", "results[].total"])
    assert found == [[stays, ("unsteady", ["results[].status"])], [stays]]
    assert store.save(job(), Verdict(outcome=Outcome.MATCH), SETTINGS) == []


@pytest.mark.django_db
def test_no_more_than_so_many_are_kept() -> None:
    for number in range(6):
        store.save(job(path=f"/{number}"), MISMATCH, replace(SETTINGS, keep=3))
    assert list(ShadowMismatch.objects.order_by("pk").values_list("path", flat=True)) == ["/3", "/4", "/5"]


@pytest.mark.django_db(transaction=True)
def test_a_mismatch_found_in_the_background_is_stored(shadows: ShadowPool) -> None:
    shadows.submit(job(ask_copy=lambda: answer(2)))
    assert shadows.drain(20)
    assert ShadowMismatch.objects.get().fields == ["v"]
