"""When two views of one order contradict each other."""

from typing import Any

import pytest

from demo.documents import Document, differences, wrong_in_answer


def order(**changes: Any) -> Document:
    line = {"product": 1, "sku": "S", "name": "P", "quantity": 2, "unit_price": "3.50", "amount": "7.00"}
    document = {
        "id": 1,
        "number": "N1",
        "status": "pending",
        "payment": "open",
        "currency": "USD",
        "total": "7.00",
        "note": "demo-1-1",
        "placed_at": "2026-01-02T03:04:05Z",
        "paid_at": None,
        "closed_at": None,
        "ship_to": {"name": "A"},
        "lines": [line],
    }
    return {**document, **changes}


LATER = "2026-01-02T04:00:00Z"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({}, {"status": "paid", "payment": "paid", "paid_at": LATER}),
        ({}, {"payment": "failed"}),
        ({}, {"payment": "paid"}),
        ({"payment": "paid"}, {"status": "paid", "payment": "paid", "paid_at": LATER}),
        (
            {"status": "cancelled", "closed_at": LATER},
            {"status": "cancelled", "closed_at": LATER, "payment": "refunded"},
        ),
        (
            {"status": "cancelled", "payment": "refunding", "closed_at": LATER},
            {"status": "cancelled", "payment": "refunded", "closed_at": LATER},
        ),
    ],
)
def test_settling_is_no_contradiction(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert differences(order(**before), order(**after)) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"total": "7.01"}),
        ({}, {"note": "other"}),
        ({}, {"ship_to": {"name": "B"}}),
        ({}, {"lines": []}),
        ({}, {"closed_at": LATER}),
        ({}, {"paid_at": LATER}),
        ({}, {"status": "cancelled"}),
        ({"payment": "none"}, {"status": "paid", "payment": "paid", "paid_at": LATER}),
        ({"status": "paid", "payment": "paid", "paid_at": LATER}, {}),
        (
            {"status": "paid", "payment": "paid", "paid_at": LATER},
            {"status": "paid", "payment": "paid", "paid_at": "2026-01-02T04:00:01Z"},
        ),
    ],
)
def test_contradictions_are_found(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert differences(order(**before), order(**after)) != []


@pytest.mark.parametrize(
    "wrong",
    [
        {"wanted": {1: 3}, "ship_to": {"name": "A"}, "note": "demo-1-1"},
        {"wanted": {1: 2}, "ship_to": {"name": "B"}, "note": "demo-1-1"},
        {"wanted": {1: 2}, "ship_to": {"name": "A"}, "note": "demo-1-2"},
    ],
)
def test_answer_is_held_against_what_was_ordered(wrong: dict[str, Any]) -> None:
    assert wrong_in_answer(order(), wanted={1: 2}, ship_to={"name": "A"}, note="demo-1-1") == []
    assert len(wrong_in_answer(order(), **wrong)) == 1


def test_total_is_added_up() -> None:
    found = wrong_in_answer(order(total="8.00"), wanted={1: 2}, ship_to=None, note="demo-1-1")
    assert found == ["total 8.00 of lines that add up to 7.00"]
