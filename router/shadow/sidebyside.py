"""A stored example as rows of two columns, with what is asked about marked."""

import difflib
from dataclasses import dataclass
from typing import Any

from router.models.traffic import ShadowMismatch
from router.shadow.telling import sides

Part = tuple[str, bool]
"""A piece of text, and whether the other side has something else there."""
MOST_PARTS = 400
"""Characters of a value in which its differing parts are looked for."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One place of an example."""

    path: str
    kind: str
    left: tuple[Part, ...]
    right: tuple[Part, ...]
    marked: bool
    """Whether this is the field that was asked for."""


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """One example."""

    example: ShadowMismatch
    left: str
    """Who gave the left values."""
    right: str
    rows: tuple[Row, ...]


def side_by_side(example: ShadowMismatch, field: str = "") -> SideBySide:
    """Lay an example out, what was asked for first."""
    left, right = sides(example)
    rows = [_row(one, field) for one in example.differences]
    rows.sort(key=lambda row: not row.marked)
    return SideBySide(example=example, left=left, right=right, rows=tuple(rows))


def _row(one: dict[str, Any], field: str) -> Row:
    left, right = _parts(_text(one["legacy"]), _text(one["extracted"]), whole=one["kind"] != "value")
    return Row(path=one["path"], kind=one["kind"], left=left, right=right, marked=one.get("field") == field)


def _text(value: Any) -> str:
    return "(nothing)" if value is None else value if isinstance(value, str) else repr(value)


def _parts(left: str, right: str, *, whole: bool) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Return both texts in pieces, those that differ marked."""
    if whole or max(len(left), len(right)) > MOST_PARTS:
        return ((left, left != right),), ((right, left != right),)
    here: list[Part] = []
    there: list[Part] = []
    for tag, low, high, other_low, other_high in difflib.SequenceMatcher(
        None, left, right, autojunk=False
    ).get_opcodes():
        here.append((left[low:high], tag != "equal"))
        there.append((right[other_low:other_high], tag != "equal"))
    return tuple(part for part in here if part[0]), tuple(part for part in there if part[0])
