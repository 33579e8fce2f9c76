"""What waits to be compared: bounded, in order, and nobody is held up by what is to be asked again later."""

import threading
from time import monotonic

import pytest

from router.shadow.compare import Answer
from router.shadow.runner import Job
from router.shadow.waiting import Budget, Waiting

FAR = 1_000.0
NOTHING = Answer(status=200, content_type="", body=b"")


def job(name: str) -> Job:
    return Job(
        service="orders",
        store="own",
        route="list",
        method="GET",
        path=name,
        given=NOTHING,
        ask_copy=lambda: NOTHING,
        ask_again=lambda: NOTHING,
    )


def taken(waiting: Waiting) -> str:
    found = waiting.take()
    assert found is not None
    return found.path


def test_first_in_first_out() -> None:
    waiting = Waiting(3, Budget(1_000))
    assert [waiting.add(job(name)) for name in "abcd"] == ["", "", "", "queue_full"]
    assert [taken(waiting) for _ in range(3)] == ["a", "b", "c"]
    assert not waiting.add(job("e"))


def test_what_is_postponed_has_room_of_its_own_and_holds_up_nothing() -> None:
    waiting = Waiting(2, Budget(1_000))
    later = monotonic() + FAR
    assert [waiting.postpone(job(name), later) for name in "abc"] == ["", "", "queue_full"]
    assert not waiting.add(job("now"))
    assert taken(waiting) == "now"


def test_what_is_due_comes_first_by_its_moment() -> None:
    waiting = Waiting(5, Budget(1_000))
    now = monotonic()
    waiting.add(job("now"))
    for name, due in (("second", now - 1), ("far", now + FAR), ("first", now - 2)):
        waiting.postpone(job(name), due)
    assert [taken(waiting) for _ in range(3)] == ["first", "second", "now"]


def test_who_waits_is_woken_by_the_moment() -> None:
    waiting = Waiting(1, Budget(1_000))
    found: list[Job | None] = []
    thread = threading.Thread(target=lambda: found.append(waiting.take()))
    thread.start()
    due = monotonic() + 0.05
    waiting.postpone(job("a"), due)
    thread.join(10)
    assert [one and one.path for one in found] == ["a"]
    assert monotonic() >= due


def test_drained_is_what_was_taken_and_done_and_nothing_is_postponed() -> None:
    waiting = Waiting(2, Budget(1_000))
    assert waiting.drain(0)
    waiting.add(job("a"))
    taken(waiting)
    assert not waiting.drain(0)
    waiting.postpone(job("a again"), monotonic() - 1)
    waiting.done(job("a"))
    assert not waiting.drain(0)
    taken(waiting)
    waiting.done(job("a again"))
    assert waiting.drain(0)
    assert waiting.budget.held == 0


def test_closed_it_gives_nothing_more_and_says_what_is_left() -> None:
    waiting = Waiting(3, Budget(1_000))
    for name in ("at it", "now"):
        waiting.add(job(name))
    waiting.postpone(job("later"), monotonic() + FAR)
    assert taken(waiting) == "at it"
    assert [left.path for left in waiting.close()] == ["now", "later"]
    assert waiting.postpone(job("too late"), monotonic()) == waiting.add(job("too late")) == "stopped"
    assert waiting.take() is None
    assert not waiting.drain(0)
    waiting.done(job("at it"))
    assert waiting.drain(0)
    assert waiting.budget.held == 0


def test_all_together_hold_no_more_bytes_than_they_may() -> None:
    waiting = Waiting(9, Budget(8))
    later = monotonic() + FAR
    assert [waiting.add(job("1234")), waiting.postpone(job("123"), later)] == ["", ""]
    assert [waiting.add(job("12")), waiting.postpone(job("12"), later)] == ["queue_bytes", "queue_bytes"]
    assert taken(waiting) == "1234"
    assert waiting.add(job("12")) == "queue_bytes", "what is worked on is held as well"
    waiting.done(job("1234"))
    assert waiting.add(job("12")) == ""


@pytest.mark.parametrize("waiting_for", ["nothing", "a moment"])
def test_closing_wakes_who_waits(waiting_for: str) -> None:
    waiting = Waiting(1, Budget(1_000))
    if waiting_for == "a moment":
        waiting.postpone(job("later"), monotonic() + FAR)
    thread = threading.Thread(target=waiting.take)
    thread.start()
    waiting.close()
    thread.join(10)
    assert not thread.is_alive()
