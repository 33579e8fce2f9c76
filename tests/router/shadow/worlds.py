"""Services that are wrong in a known way, and some that are only noisy."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

from router.shadow.compare import Answer
from tests.router.shadow.recordings import Document, World, answer, document, seeded

Change = Callable[[Document, int, int], Any]


def side(*changes: Change) -> Callable[[int, int], Answer]:
    """Return a side that answers what it should, changed in turn by each of these."""

    def asked(n: int, i: int) -> Answer:
        found = document(n)
        for change in changes:
            change(found, n, i)
        return answer(found)

    return asked


def wrong_total(one_in: int) -> Change:
    """Return a defect: the total is wrong for one order in so many, each time it is asked for."""

    def change(found: Document, n: int, i: int) -> None:
        if n % one_in == one_in // 2:
            found["total"] = "0.00"

    return change


def wrong_at_random(share: float) -> Change:
    """Return a defect that is drawn anew for each answer, as of one worker among many that is stale."""

    def change(found: Document, n: int, i: int) -> None:
        if seeded("wrong", n, i).random() < share:
            found["total"] = "0.00"

    return change


def flips_for_few(side_name: str, one_in: int, name: str = "eta") -> Change:
    """Return a field that is a coin's toss for one request in so many, on either side alike, and steady for others."""

    def change(found: Document, n: int, i: int) -> None:
        found[name] = "soon" if n % one_in == 0 and seeded(side_name, name, n, i).random() < 0.5 else "later"

    return change


def noisy(side_name: str, fields: int = 7, values: int = 1_000_000) -> Change:
    """Return fields that are drawn anew for each answer."""

    def change(found: Document, n: int, i: int) -> None:
        for number in range(fields):
            found[f"noise{number}"] = crc32(f"{side_name} {number} {n} {i}".encode()) % values

    return change


def flips(side_name: str, share: float, name: str = "eta") -> Change:
    """Return a field that is now and then another, on either side alike."""

    def change(found: Document, n: int, i: int) -> None:
        found[name] = "soon" if seeded(side_name, name, n, i).random() < share else "later"

    return change


def shuffled(side_name: str) -> Change:
    """Return lines in whatever order the database has them."""

    def change(found: Document, n: int, i: int) -> None:
        seeded(side_name, "order", n, i).shuffle(found["lines"])

    return change


def clock(offset: int) -> Change:
    """Return the time of the answer by a clock that is off."""

    def change(found: Document, n: int, i: int) -> None:
        found["served_at"] = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=n * 7 + offset)).isoformat()

    return change


def behind(answers: int) -> Callable[[int, int], Answer]:
    """Return a store that has a change only after it was asked so many times."""

    def asked(n: int, i: int) -> Answer:
        found = document(n)
        if n % 3 == 0 and i < answers:
            found["status"] = "placed"
        return answer(found)

    return asked


def failing(one_in: int) -> Callable[[int, int], Answer]:
    """Return a service that breaks off for one request in so many."""

    def asked(n: int, i: int) -> Answer:
        if n % one_in == 0:
            raise ConnectionResetError("reset")
        return answer(document(n))

    return asked


def slow(one_in: int) -> Callable[[int, int], Answer]:
    """Return a service that does not answer in time for one request in so many."""

    def asked(n: int, i: int) -> Answer:
        if n % one_in == 0:
            raise TimeoutError("first byte")
        return answer(document(n))

    return asked


RIGHT = side()


def both(*of_legacy: Change, service: tuple[Change, ...]) -> World:
    """Return a world of two sides."""
    return World(legacy=side(*of_legacy), service=side(*service))
