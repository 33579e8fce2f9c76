"""The retry rule of the demo's clients, and how they record what they met."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
import requests

from demo.customers import Client, Reply, RetryRule
from demo.records import Log


@pytest.mark.parametrize(
    ("status", "headers", "elapsed", "repeatable", "expected"),
    [
        (200, {}, 0.0, True, None),
        (503, {"Retry-After": "2"}, 0.0, True, 2.0),
        (503, {}, 0.0, True, 0.5),
        (503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0, True, 0.5),
        (409, {"Retry-After": "1"}, 0.0, True, 1.0),
        (409, {}, 0.0, True, None),
        (500, {"Retry-After": "1"}, 0.0, True, None),
        (0, {}, 0.0, True, 0.5),
        (503, {"Retry-After": "2"}, 0.0, False, None),
        (0, {}, 0.0, False, None),
        (503, {"Retry-After": "2"}, 7.9, True, 2.0),
        (503, {"Retry-After": "2"}, 8.0, True, None),
    ],
)
def test_retry_rule(
    status: int, headers: Mapping[str, str], elapsed: float, repeatable: bool, expected: float | None
) -> None:
    reply = Reply(status=status, headers=headers)
    assert RetryRule().delay(reply, elapsed=elapsed, repeatable=repeatable) == expected


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class Answers(requests.Session):
    """A shop that gives prepared answers and remembers what it was asked."""

    def __init__(self, *answers: tuple[int, dict[str, str]] | Exception) -> None:
        super().__init__()
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def request(self, method: str, url: str, **given: Any) -> requests.Response:  # type: ignore[override]
        self.asked.append({"method": method, "url": url, **given})
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        response = requests.Response()
        response.status_code = answer[0]
        response.headers.update(answer[1])
        return response


def client(session: Answers, **given: Any) -> tuple[Client, Log]:
    log, clock = Log(), Clock()
    made = Client(
        "http://shop", log, session=session, clock=clock, sleep=clock.sleep, keys=random.Random(1), token="t", **given
    )
    return made, log


BUSY = (503, {"Retry-After": "2"})


def test_write_is_sent_again_with_the_same_key() -> None:
    session = Answers(BUSY, BUSY, (201, {"X-Strangler-Side": "extracted", "X-Strangler-Reason": "everyone"}))
    customer, log = client(session)
    assert customer.call("order", "POST", "/api/orders/", body={}, expect=(201,)).status == 201
    keys = {asked["headers"]["Idempotency-Key"] for asked in session.asked}
    assert (len(session.asked), len(keys)) == (3, 1)
    (record,) = log.records
    assert (record.tries, record.seconds, record.side, record.failure) == (3, 4.0, "extracted", "")


def test_each_write_has_a_key_of_its_own() -> None:
    session = Answers((200, {}))
    customer, _ = client(session)
    customer.call("cancel", "POST", "/api/orders/1/cancel/", body={})
    customer.call("cancel", "POST", "/api/orders/2/cancel/", body={})
    assert len({asked["headers"]["Idempotency-Key"] for asked in session.asked}) == 2


def test_patience_ends_as_a_failure() -> None:
    customer, log = client(Answers(BUSY))
    assert customer.call("order", "POST", "/api/orders/", body={}, expect=(201,)).status == 503
    (record,) = log.records
    assert "expected 201, got 503" in record.failure
    assert record.seconds < 10


def test_write_without_key_is_never_sent_twice() -> None:
    session = Answers(requests.ConnectionError("reset"))
    customer, log = client(session, sends_keys=False)
    customer.call("order", "POST", "/api/orders/", body={}, expect=(201,))
    assert len(session.asked) == 1
    assert "Idempotency-Key" not in session.asked[0]["headers"]
    assert "reset" in log.records[0].failure


def test_read_is_asked_again_after_a_broken_connection() -> None:
    session = Answers(requests.ConnectionError("reset"), (200, {}))
    customer, log = client(session, sends_keys=False)
    assert customer.get("detail", "/api/orders/1/").status == 200
    assert log.failures() == []


def test_right_answer_that_comes_too_late_is_a_failure() -> None:
    clock = Clock()

    class Slow(Answers):
        def request(self, method: str, url: str, **given: Any) -> requests.Response:  # type: ignore[override]
            clock.sleep(10.5)
            return super().request(method, url, **given)

    log = Log()
    Client("http://shop", log, session=Slow((200, {})), clock=clock, sleep=clock.sleep).get("list", "/api/orders/")
    assert "came after 10.5 s" in log.records[0].failure


def test_unexpected_status_is_a_failure() -> None:
    customer, log = client(Answers((500, {})))
    customer.get("list", "/api/orders/")
    assert "expected 200, got 500" in log.failures()[0]


def test_without_a_key_a_write_may_be_put_off_while_its_owner_is_dead() -> None:
    session = Answers((503, {"Retry-After": "1"}), (503, {"Retry-After": "1"}), (503, {}))
    caller, log = client(session, sends_keys=False)
    caller.call("order", "POST", "/api/orders/", body={})
    with log.owner_dead():
        caller.call("order", "POST", "/api/orders/", body={})
        caller.call("order", "POST", "/api/orders/", body={})
    assert [(bool(one.failure), one.put_off) for one in log.records] == [(True, False), (False, True), (True, False)]


def test_with_a_key_it_may_not() -> None:
    caller, log = client(Answers((503, {"Retry-After": "1"})))
    with log.owner_dead():
        caller.call("order", "POST", "/api/orders/", body={})
    (record,) = log.records
    assert (record.put_off, bool(record.failure)) == (False, True)


def test_an_answer_that_may_be_behind_is_known_by_its_header() -> None:
    caller, log = client(Answers((200, {"X-Strangler-Stale": "1"}), (200, {})))
    assert [caller.get("list", "/api/orders/").stale for _ in range(2)] == [True, False]
    assert [one.stale for one in log.records] == [True, False]


def test_what_is_not_found_may_not_be_there_yet_while_its_owner_is_dead() -> None:
    stale = (404, {"X-Strangler-Stale": "1"})
    caller, log = client(Answers(stale, stale, (404, {})))
    caller.get("detail", "/api/orders/1/")
    with log.owner_dead():
        caller.get("detail", "/api/orders/1/")
        caller.get("detail", "/api/orders/1/")
    assert [bool(one.failure) for one in log.records] == [True, False, True]
