"""What waits to be compared: bounded, in order, and nobody is held up by what is to be asked again later."""

import threading
from time import monotonic

import pytest

from router.shadow.compare import Answer
from router.shadow.runner import Job
from router.shadow.waiting import Waiting

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
    waiting = Waiting(3)
    assert [waiting.add(job(name)) for name in "abcd"] == [True, True, True, False]
    assert [taken(waiting) for _ in range(3)] == ["a", "b", "c"]
    assert waiting.add(job("e"))


def test_what_is_postponed_has_room_of_its_own_and_holds_up_nothing() -> None:
    waiting = Waiting(2)
    later = monotonic() + FAR
    assert [waiting.postpone(job(name), later) for name in "abc"] == [True, True, False]
    assert waiting.add(job("now"))
    assert taken(waiting) == "now"


def test_what_is_due_comes_first_by_its_moment() -> None:
    waiting = Waiting(5)
    now = monotonic()
    waiting.add(job("now"))
    for name, due in (("second", now - 1), ("far", now + FAR), ("first", now - 2)):
        waiting.postpone(job(name), due)
    assert [taken(waiting) for _ in range(3)] == ["first", "second", "now"]


def test_who_waits_is_woken_by_the_moment() -> None:
    waiting = Waiting(1)
    found: list[Job | None] = []
    thread = threading.Thread(target=lambda: found.append(waiting.take()))
    thread.start()
    due = monotonic() + 0.05
    waiting.postpone(job("a"), due)
    thread.join(10)
    assert [one and one.path for one in found] == ["a"]
    assert monotonic() >= due


def test_drained_is_what_was_taken_and_done_and_nothing_is_postponed() -> None:
    waiting = Waiting(2)
    assert waiting.drain(0)
    waiting.add(job("a"))
    taken(waiting)
    assert not waiting.drain(0)
    waiting.postpone(job("a again"), monotonic() - 1)
    waiting.done()
    assert not waiting.drain(0)
    taken(waiting)
    waiting.done()
    assert waiting.drain(0)


def test_closed_it_gives_what_is_to_be_done_now_and_then_nothing() -> None:
    waiting = Waiting(2)
    waiting.add(job("now"))
    waiting.postpone(job("later"), monotonic() + FAR)
    waiting.close()
    assert not waiting.postpone(job("too late"), monotonic())
    assert taken(waiting) == "now"
    waiting.done()
    assert waiting.take() is None
    assert waiting.drain(0)


@pytest.mark.parametrize("waiting_for", ["nothing", "a moment"])
def test_closing_wakes_who_waits(waiting_for: str) -> None:
    waiting = Waiting(1)
    if waiting_for == "a moment":
        waiting.postpone(job("later"), monotonic() + FAR)
    thread = threading.Thread(target=waiting.take)
    thread.start()
    waiting.close()
    thread.join(10)
    assert not thread.is_alive()
