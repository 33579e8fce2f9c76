"""Tables are aligned, wrapped, and say nothing twice."""

from datetime import timedelta

import pytest

from migrations_plan.pages import duration
from migrations_plan.tables import table


def test_numbers_stand_to_the_right_and_text_to_the_left() -> None:
    assert table(("name", "share", "why"), [("a", "5 %", "x"), ("long name", "100 %", "y")]).splitlines() == [
        "NAME       SHARE  WHY",
        "a            5 %  x",
        "long name  100 %  y",
    ]


def test_the_last_column_is_wrapped_to_the_width() -> None:
    lines = table(("name", "why"), [("a", "one two three four five six seven eight nine ten")], width=36).splitlines()
    assert len(lines) > 2
    assert all(len(line) <= 36 for line in lines)
    assert lines[2].startswith("      ")


def test_no_rows_leave_the_headers_and_none_is_empty() -> None:
    assert table(("a", "b"), []) == "A  B"
    assert table(("a", "b"), [(None, 1)]).splitlines()[1].strip() == "1"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (7200, "2 h"),
        (86_400, "1 day"),
        (200_000, "2 days"),
    ],
)
def test_durations(seconds: int, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text
