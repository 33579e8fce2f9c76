"""Ranges of numbers among texts hold just the numbers that are meant."""

import random

import pytest

from migrations_plan.sync.spans import Span, spans


def holds(span: Span, text: str) -> bool:
    return span.low <= text <= span.high and span.shortest <= len(text) <= span.longest


ENDS = [None, -1200, -1000, -999, -100, -99, -10, -9, -1, 0, 1, 5, 9, 10, 11, 99, 100, 101, 999, 1000, 1200]


@pytest.mark.parametrize("after", ENDS)
@pytest.mark.parametrize("until", ENDS)
def test_each_number_of_the_range_is_in_one_span_and_no_other_is_in_any(after: int | None, until: int | None) -> None:
    found = spans(after, until)
    for number in range(-1300, 1300):
        wanted = (after is None or number > after) and (until is None or number <= until)
        assert sum(holds(span, str(number)) for span in found) == wanted, number


def test_the_largest_numbers_that_columns_hold() -> None:
    rng = random.Random(7)
    for _ in range(500):
        after, until = sorted(rng.randrange(-(2**63), 2**63) for _ in range(2))
        for number in (after, after + 1, until, until + 1, rng.randrange(after, until + 1)):
            wanted = after < number <= until
            assert sum(holds(span, str(number)) for span in spans(after, until)) == wanted


def test_few_spans_are_enough() -> None:
    assert len(spans(150_000, 152_000)) == 1
    assert len(spans(None, None)) <= 4
