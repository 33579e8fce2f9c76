"""The turnstile: so many at once, and not one more."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from migrations_plan.sync.wire.refusals import Refusal
from migrations_plan.sync.wire.turnstile import Turnstile


def test_no_more_are_inside_than_allowed() -> None:
    turnstile, barrier, leave = Turnstile(), threading.Barrier(9), threading.Event()

    def enter() -> bool:
        barrier.wait(10)
        try:
            with turnstile.admitted(3):
                return leave.wait(10)
        except Refusal as refused:
            told.append((refused.status, refused.retry_after))
            turned_away.release()
            return False

    turned_away = threading.Semaphore(0)
    told: list[tuple[int, int | None]] = []
    with ThreadPoolExecutor(8) as pool:
        entered = [pool.submit(enter) for _ in range(8)]
        barrier.wait(10)
        assert all(turned_away.acquire(timeout=10) for _ in range(5))
        leave.set()
    assert sorted(one.result() for one in entered) == [False] * 5 + [True] * 3
    assert told == [(429, 1)] * 5


def test_who_fails_inside_makes_room() -> None:
    turnstile = Turnstile()
    for _ in range(3):
        with pytest.raises(ValueError, match="inside"), turnstile.admitted(1):
            raise ValueError("inside")
    with turnstile.admitted(1), pytest.raises(Refusal), turnstile.admitted(1):
        pass
