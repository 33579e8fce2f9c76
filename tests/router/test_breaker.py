"""Breakers, with a clock of their own."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from django.test import override_settings

from router import breaker as breaker_module
from router import metrics
from router.breaker import CLOSED, HALF_OPEN, OPEN, Breaker, BreakerOpen, Window, breaker_for, breakers
from router.conf import BreakerSettings
from router.exceptions import StranglerError
from router.forward import Ambiguous, BodyUnreadable, NotSent, Upstream, UpstreamResponse, send
from router.snapshot import Snapshot
from router.testing import override_snapshot
from tests.router.raw_server import get, once, raw_server

UPSTREAM = Upstream(service="orders", store="shared", base_url="http://127.0.0.1:1")
SETTINGS = BreakerSettings(
    fail_max=3,
    reset_seconds=2.0,
    window_seconds=10.0,
    min_calls=10,
    failure_rate=0.5,
    slow_seconds=1.0,
    slow_rate=0.8,
)


@dataclass
class Clock:
    """A clock that only moves when told."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock to move by hand."""
    return Clock()


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Begin and end without breakers and counts, with nothing forced."""
    for module in (breaker_module, metrics):
        module.reset()
    with override_snapshot(Snapshot()):
        yield
    for module in (breaker_module, metrics):
        module.reset()


def make(clock: Clock, **changes: Any) -> Breaker:
    """Return a breaker with quick settings."""
    settings = replace(SETTINGS, **changes)
    return Breaker(service="orders", store="shared", name="orders.shared", settings=settings, clock=clock)


def fail(breaker: Breaker, times: int = 1, error: Exception | None = None) -> None:
    """Let calls fail."""
    for _ in range(times):
        failure = error or NotSent(UPSTREAM, "connect_refused", "refused")
        with pytest.raises(type(failure)), breaker.calling():
            raise failure


def succeed(breaker: Breaker, times: int = 1) -> None:
    """Let calls succeed."""
    for _ in range(times):
        with breaker.calling():
            pass


def moves() -> list[tuple[str, str]]:
    """Return the changes of state that were recorded."""
    return [(event.previous, event.state) for event in metrics._counters.events]


def test_consecutive_failures_open_it_and_the_error_stays_what_it_was(clock: Clock) -> None:
    breaker = make(clock)
    fail(breaker, 2)
    assert breaker.state == CLOSED
    fail(breaker)
    assert breaker.state == OPEN
    clock.now += 0.5
    with pytest.raises(BreakerOpen, match=r"orders\.shared.*refused.*retry in 1\.5 s") as refused, breaker.calling():
        pytest.fail("a call went through an open breaker")
    assert refused.value.retry_after == pytest.approx(1.5)


def test_a_success_starts_the_count_anew(clock: Clock) -> None:
    breaker = make(clock, min_calls=1000)
    for _ in range(4):
        fail(breaker, 2)
        succeed(breaker)
    assert breaker.state == CLOSED


@pytest.mark.parametrize(
    "error",
    [ValueError("a bug of ours"), KeyboardInterrupt(), BodyUnreadable(UPSTREAM, "client", "the client left")],
)
def test_what_is_not_the_upstreams_fault_is_neither_failure_nor_success(clock: Clock, error: BaseException) -> None:
    breaker = make(clock)
    fail(breaker, 2)
    for _ in range(5):
        with pytest.raises(type(error)), breaker.calling():
            raise error
    assert breaker.state == CLOSED
    fail(breaker)
    assert breaker.state == OPEN


@pytest.mark.parametrize(
    "error",
    [NotSent(UPSTREAM, "connect", "x"), Ambiguous(UPSTREAM, "reset", "x"), StranglerError("answered 500")],
)
def test_what_counts_as_failure(clock: Clock, error: StranglerError) -> None:
    breaker = make(clock)
    fail(breaker, 3, error)
    assert breaker.state == OPEN


def test_after_the_reset_time_one_probe_decides(clock: Clock) -> None:
    breaker = make(clock)
    fail(breaker, 3)
    clock.now += 2.0
    with breaker.calling() as probe:
        assert (breaker.state, probe.probe) == (HALF_OPEN, True)
        with pytest.raises(BreakerOpen, match="probe is under way"), breaker.calling():
            pytest.fail("two probes at once")
    assert breaker.state == CLOSED
    assert moves() == [(CLOSED, OPEN), (OPEN, HALF_OPEN), (HALF_OPEN, CLOSED)]


def test_a_failed_probe_opens_it_for_the_whole_time_again(clock: Clock) -> None:
    breaker = make(clock)
    fail(breaker, 3)
    clock.now += 2.0
    fail(breaker)
    assert breaker.state == OPEN
    clock.now += 1.9
    with pytest.raises(BreakerOpen), breaker.calling():
        pytest.fail("too early")
    clock.now += 0.2
    succeed(breaker)
    assert breaker.state == CLOSED


def test_a_probe_that_says_nothing_makes_room_for_the_next(clock: Clock) -> None:
    breaker = make(clock)
    fail(breaker, 3)
    clock.now += 2.0
    with pytest.raises(ValueError, match="ours"), breaker.calling():
        raise ValueError("ours")
    assert breaker.state == HALF_OPEN
    succeed(breaker)
    assert breaker.state == CLOSED


def test_a_probe_whose_thread_vanished_is_replaced_after_its_lease(clock: Clock) -> None:
    breaker = make(clock)
    fail(breaker, 3)
    clock.now += 2.0
    lost = breaker.calling()
    lost.__enter__()
    with pytest.raises(BreakerOpen), breaker.calling():
        pytest.fail("the lease is not over")
    clock.now += breaker_module.PROBE_LEASE_SECONDS
    succeed(breaker)
    assert breaker.state == CLOSED
    lost.__exit__(None, None, None)


def test_only_one_of_many_threads_probes(clock: Clock) -> None:
    breaker = make(clock)
    fail(breaker, 3)
    clock.now += 2.0
    start, go = threading.Barrier(16), threading.Event()
    admitted: list[int] = []
    refused: list[int] = []

    def work(number: int) -> None:
        start.wait(5)
        try:
            with breaker.calling():
                admitted.append(number)
                go.wait(5)
        except BreakerOpen:
            refused.append(number)
            if len(refused) == 15:
                go.set()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (len(admitted), len(refused)) == (1, 15)


def test_answers_from_before_the_last_change_change_nothing(clock: Clock) -> None:
    breaker = make(clock)
    late_failures = [breaker.calling() for _ in range(5)]
    late_success = breaker.calling()
    for late in (*late_failures, late_success):
        late.__enter__()
    fail(breaker, 3)
    late_success.__exit__(None, None, None)
    assert breaker.state == OPEN
    clock.now += 2.0
    succeed(breaker)
    assert breaker.state == CLOSED
    for late in late_failures:
        assert not late.__exit__(NotSent, NotSent(UPSTREAM, "connect", "late"), None)
    assert breaker.state == CLOSED


def test_no_lock_is_held_during_a_call(clock: Clock) -> None:
    breaker = make(clock)
    inside = threading.Barrier(8)

    def work() -> None:
        with breaker.calling():
            inside.wait(5)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not inside.broken


def test_a_rate_of_failures_opens_it_though_they_are_not_consecutive(clock: Clock) -> None:
    breaker = make(clock)
    for _ in range(4):
        succeed(breaker)
        fail(breaker)
    assert breaker.state == CLOSED
    succeed(breaker)
    assert breaker.state == CLOSED
    fail(breaker)
    assert breaker.state == OPEN
    assert "5 of 10 calls failed" in breaker.reason


def test_slow_calls_open_it(clock: Clock) -> None:
    breaker = make(clock)
    succeed(breaker, 2)
    for number in range(8):
        assert breaker.state == CLOSED, number
        with breaker.calling():
            clock.now += 1.0
    assert breaker.state == OPEN
    assert "8 of 10 calls took 1.0 s or longer" in breaker.reason


def test_the_window_forgets(clock: Clock) -> None:
    window = Window(10.0, clock)
    window.add(failed=True, slow=False)
    clock.now += 5.0
    window.add(failed=False, slow=True)
    assert window.totals() == (2, 1, 1)
    clock.now += 5.0
    assert window.totals() == (1, 0, 1)
    clock.now += 100.0
    assert window.totals() == (0, 0, 0)


def test_after_it_has_closed_old_calls_do_not_count(clock: Clock) -> None:
    breaker = make(clock)
    for _ in range(5):
        succeed(breaker)
        fail(breaker)
    clock.now += 2.0
    succeed(breaker)
    fail(breaker, 2)
    assert breaker.state == CLOSED


@pytest.mark.parametrize("forced", ["open", "closed"])
def test_an_operator_decides(clock: Clock, forced: Any) -> None:
    breaker = make(clock)
    if forced == "closed":
        fail(breaker, 3)
    with override_snapshot(Snapshot(breakers_forced={("orders", "shared"): forced})):
        if forced == "open":
            with pytest.raises(BreakerOpen, match="held open by an operator"), breaker.calling():
                pytest.fail("a call went through")
        else:
            succeed(breaker)
    with override_snapshot(Snapshot(breakers_forced={("orders", "own"): forced})):
        assert breaker.forced is None


def test_a_stream_that_breaks_off_afterwards_counts(clock: Clock) -> None:
    breaker = make(clock, fail_max=1)
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst"
    with raw_server(once(data)) as server:
        with breaker.calling() as call:
            response: UpstreamResponse = call.watch(send(server.upstream(), get()))
        assert breaker.state == CLOSED
        with pytest.raises(Ambiguous):
            b"".join(response.body)  # type: ignore[arg-type]
    assert breaker.state == OPEN


class TestRegistry:
    @pytest.fixture(autouse=True)
    def service(self) -> Iterator[None]:
        """Settings with one service."""
        with override_settings(STRANGLER={"SERVICES": {"orders": {"UPSTREAMS": {"shared": UPSTREAM.base_url}}}}):
            yield

    def test_one_per_upstream_and_purpose(self) -> None:
        assert breaker_for(UPSTREAM) is breaker_for(UPSTREAM)
        assert breaker_for(UPSTREAM, "shadow") is not breaker_for(UPSTREAM)
        assert [breaker.name for breaker in breakers("orders")] == ["orders.shared", "orders.shared.shadow"]

    def test_other_settings_make_another(self) -> None:
        before = breaker_for(UPSTREAM)
        with override_settings(STRANGLER={"SERVICES": {"orders": {"BREAKER": {"FAIL_MAX": 1}}}}):
            assert breaker_for(UPSTREAM).settings.fail_max == 1
            assert breaker_for(UPSTREAM) is not before
