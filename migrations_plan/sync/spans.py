"""Ranges of keys where keys are kept as text: marks and applied versions hold them so, whatever the column's type is.

UUIDs and texts are ordered the same as text. Whole numbers are not (10 comes before 9), so a range of them becomes a
few ranges of text, each with a number of characters: numbers of one length are in the same order either way, and every
collation agrees about digits, so the index on the key is of use as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

LONGEST = 19
"""Digits of the largest whole number that a database column holds."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """The texts from ``low`` to ``high``, both included, with so many characters."""

    low: str
    high: str
    shortest: int
    longest: int


def spans(after: int | None, until: int | None) -> tuple[Span, ...]:
    """Return where the numbers above ``after``, up to ``until``, stand among texts; None is open."""
    top = 10**LONGEST - 1
    first, last = (-top if after is None else after + 1), (top if until is None else until)
    found: list[Span] = []
    if first < 0:
        found.extend(_signed("-", max(1, -last), -first))
    if last >= 0:
        found.extend(_signed("", max(0, first), last))
    return tuple(found)


def _signed(sign: str, first: int, last: int) -> Iterator[Span]:
    """Yield the ranges of the lengths that are covered in part, and one of all lengths that are covered in full."""
    if first > last:
        return
    whole: list[int] = []
    for length in range(len(str(first)), len(str(last)) + 1):
        lowest, highest = (0 if length == 1 else 10 ** (length - 1)), 10**length - 1
        low, high = max(first, lowest), min(last, highest)
        if length > 1 and (low, high) == (lowest, highest):
            whole.append(length)
        else:
            extra = len(sign)
            yield Span(low=f"{sign}{low}", high=f"{sign}{high}", shortest=length + extra, longest=length + extra)
    if whole:
        extra = len(sign)
        yield Span(
            low=f"{sign}1", high=f"{sign}{'9' * whole[-1]}", shortest=whole[0] + extra, longest=whole[-1] + extra
        )
