"""The sandwich: what counts as a mismatch, and what is only a change."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest

from router.breaker import BreakerOpen
from router.forward import Ambiguous, Upstream
from router.metrics import Outcome
from router.shadow.compare import Answer
from router.shadow.runner import MAX_ROUNDS, Ask, Job, Later, NotCompared, Verdict, run

UPSTREAM = Upstream(service="orders", store="shared", base_url="http://127.0.0.1:1")


def answer(value: Any, status: int = 200) -> Answer:
    """Return a JSON answer with one field."""
    return Answer(status=status, content_type="application/json", body=f'{{"v": {value}}}'.encode())


def sequence(*steps: Any) -> Ask:
    """Return a side that answers one thing after the other; exceptions are raised."""
    left = list(steps)

    def ask() -> Answer:
        step = left.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step if isinstance(step, Answer) else answer(step)

    return ask


def never() -> Answer:
    """Fail if this side is asked."""
    pytest.fail("this side must not be asked")


def compared(first: Any, service: Ask, legacy: Ask = never, ignore: tuple[str, ...] = (), **options: Any) -> Verdict:
    """Run a comparison."""
    job = Job(
        service="orders",
        store="shared",
        route="list",
        method="GET",
        path="/api/orders/",
        given=first if isinstance(first, Answer) else answer(first),
        ask_copy=service,
        ask_again=legacy,
        ignore=ignore,
    )
    verdict = run(job, **options)
    assert isinstance(verdict, Verdict)
    return verdict


def test_a_match_asks_once() -> None:
    verdict = compared(1, sequence(1))
    assert (verdict.outcome, verdict.rounds, verdict.differences) == (Outcome.MATCH, 0, ())
    assert verdict.seconds > 0


def test_a_difference_that_stays_is_a_mismatch() -> None:
    verdict = compared(1, sequence(2, 2, 2), sequence(1))
    assert (verdict.outcome, verdict.rounds) == (Outcome.MISMATCH, 1)
    assert [(item.path, item.legacy, item.extracted) for item in verdict.differences] == [("v", 1, 2)]


def test_a_difference_that_was_only_late_is_a_change() -> None:
    verdict = compared(1, sequence(2, 2, 2), sequence(2))
    assert (verdict.outcome, verdict.rounds, verdict.differences) == (Outcome.CHANGED, 1, ())


def test_data_that_moved_between_the_questions_is_asked_again() -> None:
    verdict = compared(1, sequence(2, 2, 3, 3, 3), sequence(2, 3))
    assert (verdict.outcome, verdict.rounds) == (Outcome.CHANGED, 2)


def test_a_mismatch_is_found_though_the_data_moved_at_first() -> None:
    verdict = compared(1, sequence(2, 2, 3, 9, 9, 9, 9), sequence(2, 3, 3))
    assert (verdict.outcome, verdict.rounds) == (Outcome.MISMATCH, 3)


def test_data_that_never_rests_is_a_change_after_three_rounds() -> None:
    verdict = compared(0, sequence(*range(1, 8)), sequence(0, 0, 0))
    assert (verdict.outcome, verdict.rounds) == (Outcome.CHANGED, MAX_ROUNDS)


def test_a_mismatch_in_status_counts() -> None:
    missing = answer(1, status=404)
    verdict = compared(1, sequence(missing, missing, missing), sequence(1))
    assert verdict.outcome is Outcome.MISMATCH
    assert verdict.differences[0].path == "(status)"


def test_ignored_fields_need_no_second_look() -> None:
    assert compared(1, sequence(2), ignore=("v",)).outcome is Outcome.MATCH


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (Ambiguous(UPSTREAM, "first_byte_deadline", "slow"), "first_byte_deadline"),
        (answer(1, status=503), "status_503"),
        (ValueError("bug"), "ValueError"),
    ],
)
@pytest.mark.parametrize("later", [False, True])
def test_failures_of_the_service_are_errors(failure: Any, cause: str, later: bool) -> None:
    service = sequence(2, failure) if later else sequence(failure)
    verdict = compared(1, service, sequence(1))
    assert (verdict.outcome, verdict.cause) == (Outcome.ERROR, cause)


def test_both_sides_failing_alike_is_a_match() -> None:
    assert compared(answer(1, status=500), sequence(answer(1, status=500))).outcome is Outcome.MATCH


@pytest.mark.parametrize("failure", [RuntimeError("view failed"), answer(1, status=500)])
def test_legacy_failing_the_second_time_proves_nothing(failure: Any) -> None:
    verdict = compared(1, sequence(2, 2, 2), sequence(failure))
    assert (verdict.outcome, verdict.cause) == (Outcome.DROPPED, "legacy_failed")


@pytest.mark.parametrize("large", ["first", "service", "legacy"])
def test_large_answers_are_not_compared(large: str) -> None:
    big = answer("1" * 1000)
    verdict = compared(
        big if large == "first" else 1,
        sequence(big if large == "service" else 2, 2, 2),
        sequence(big if large == "legacy" else 1),
        max_bytes=500,
    )
    assert (verdict.outcome, verdict.cause) == (Outcome.DROPPED, "too_large")


def test_no_further_round_after_the_deadline() -> None:
    verdict = compared(1, never, never, deadline=monotonic() - 1)
    assert (verdict.outcome, verdict.cause) == (Outcome.DROPPED, "deadline")


def test_an_open_breaker_drops() -> None:
    @contextmanager
    def guard() -> Iterator[None]:
        raise BreakerOpen("orders.shared.shadow", 1.0, "failures")
        yield

    verdict = compared(1, never, guard=guard)
    assert (verdict.outcome, verdict.cause) == (Outcome.DROPPED, "breaker_open")


def test_the_guard_sees_server_errors_and_not_our_own_limits() -> None:
    seen: list[str] = []

    @contextmanager
    def guard() -> Iterator[None]:
        try:
            yield
            seen.append("ok")
        except Exception as error:
            seen.append(type(error).__name__)
            raise

    compared(1, sequence(answer(1, status=500)), guard=guard)
    compared(1, sequence(answer("1" * 100)), guard=guard, max_bytes=50)
    assert seen == ["ServiceFailed", "ok"]


def test_who_asks_may_find_that_there_is_nothing_to_compare() -> None:
    verdict = compared(1, sequence(NotCompared("credentials_rejected")))
    assert (verdict.outcome, verdict.cause) == (Outcome.DROPPED, "credentials_rejected")


def test_bottomless_json_harms_nobody() -> None:
    deep = Answer(status=200, content_type="application/json", body=b"[" * 100_000)
    other = Answer(status=200, content_type="application/json", body=b"[" * 100_001)
    verdict = compared(deep, sequence(other, other, other), sequence(deep))
    assert (verdict.outcome, [found.path for found in verdict.differences]) == (Outcome.MISMATCH, ["(body)"])


# --- stores of which one follows the other -------------------------------------------------------------------
def followed(first: Any, copies: Ask, again: Ask = never, **more: Any) -> tuple[Verdict, int]:
    """Compare until there is a verdict; return how many moments were waited for as well."""
    job = Job(
        service="orders",
        store="own",
        route="list",
        method="GET",
        path="/api/orders/",
        given=answer(first),
        ask_copy=copies,
        ask_again=again,
        answered_by="shared",
        follows=True,
        **more,
    )
    moments = 0
    while isinstance(found := run(job), Later):
        job, moments = found.job, moments + 1
    return found, moments


@pytest.mark.parametrize(
    ("given", "copies", "again", "outcome", "moments"),
    [
        pytest.param(1, [1], [], Outcome.MATCH, 0, id="equal at once"),
        pytest.param(1, [0, 1], [], Outcome.CHANGED, 1, id="equal after a moment"),
        pytest.param(1, [0, 0, 0], [1], Outcome.MISMATCH, 1, id="different though nothing moved"),
        pytest.param(1, [0, 2, 2], [2], Outcome.CHANGED, 1, id="moved, and arrived"),
        pytest.param(1, [0, 1, 2], [2], Outcome.CHANGED, 1, id="arrived, and moved since"),
        pytest.param(1, [0, 0, 0, 2], [2], Outcome.CHANGED, 2, id="moved just now, arrived a moment later"),
        pytest.param(1, [0, 0, 0, 0, 0], [2, 2], Outcome.MISMATCH, 2, id="moved once, and never arrived"),
        pytest.param(1, [0, 0, 0, 0, 0, 0, 0], [2, 3, 4], Outcome.CHANGED, MAX_ROUNDS, id="never stands still"),
    ],
)
def test_a_store_that_follows_is_given_a_moment(
    given: int, copies: list[int], again: list[int], outcome: Outcome, moments: int
) -> None:
    verdict, waited = followed(given, sequence(*copies), sequence(*again) if again else never)
    assert (verdict.outcome, waited, verdict.rounds) == (outcome, moments, moments)
    assert bool(verdict.differences) == (outcome is Outcome.MISMATCH)


def test_a_difference_counts_only_once_all_has_arrived() -> None:
    """However long that takes; the copy is not even asked before."""
    verdict, waited = followed(1, sequence(0, 1), behind=iter((True, True, True, False)).__next__)
    assert (verdict.outcome, waited) == (Outcome.CHANGED, 4)
    verdict, waited = followed(1, sequence(0, 0, 0), sequence(1), behind=iter((True, False)).__next__)
    assert (verdict.outcome, waited) == (Outcome.MISMATCH, 2)


def test_what_never_arrives_is_not_compared() -> None:
    verdict, _ = followed(1, sequence(0), behind=lambda: True, patience=0.0)
    assert (verdict.outcome, verdict.cause) == (Outcome.DROPPED, "behind")


def test_where_nobody_can_tell_nothing_is_compared() -> None:
    verdict, _ = followed(1, sequence(0), behind=iter(()).__next__)
    assert (verdict.outcome, verdict.cause) == (Outcome.DROPPED, "behind")


def test_the_store_that_has_answered_is_named_if_it_fails() -> None:
    verdict, _ = followed(1, sequence(0, 0), sequence(RuntimeError("gone")))
    assert (verdict.outcome, verdict.cause) == (Outcome.DROPPED, "shared_failed")


# --- compressed answers --------------------------------------------------------------------------------------
PLAIN = b'{"v": 1}'
GZIPPED = gzip.compress(PLAIN, mtime=0)
BOMB = gzip.compress(b"x" * 10_000_000, mtime=0)


@pytest.mark.parametrize(
    ("encoding", "body", "outcome", "cause"),
    [
        ("gzip", GZIPPED, Outcome.MATCH, ""),
        ("GZIP", GZIPPED, Outcome.MATCH, ""),
        ("deflate", zlib.compress(PLAIN), Outcome.MATCH, ""),
        ("br", PLAIN, Outcome.DROPPED, "encoded"),
        ("gzip", PLAIN, Outcome.DROPPED, "encoded"),
        ("gzip", BOMB, Outcome.DROPPED, "too_large"),
    ],
    ids=["gzip", "in capitals", "deflate", "unknown", "said and not so", "far more than it seems"],
)
@pytest.mark.parametrize("side", ["given", "copy"])
def test_compressed_answers(encoding: str, body: bytes, outcome: Outcome, cause: str, side: str) -> None:
    packed = Answer(status=200, content_type="application/json", body=body, encoding=encoding)
    given, copied = (packed, answer(1)) if side == "given" else (answer(1), packed)
    verdict = compared(given, sequence(copied))
    assert (verdict.outcome, verdict.cause) == (outcome, cause)
