"""Aligned tables for terminals."""

import textwrap
from collections.abc import Iterable, Sequence

GAP = "  "
LEAST_LAST = 30
"""The last column gets at least this much, whatever the terminal's width."""


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], width: int = 120) -> str:
    """Return rows under headers: numbers to the right, the last column wrapped to the width."""
    cells = [[_text(cell) for cell in row] for row in rows]
    right = [
        bool(cells) and all(reads_as_number(row[column]) for row in cells if row[column])
        for column in range(len(headers))
    ]
    widths = [max(len(row[column]) for row in [list(headers), *cells]) for column in range(len(headers))]
    used = sum(widths[:-1]) + len(GAP) * (len(headers) - 1)
    widths[-1] = min(widths[-1], max(LEAST_LAST, width - used))
    lines = [_line([header.upper() for header in headers], widths, right)]
    for row in cells:
        wrapped = textwrap.wrap(row[-1], widths[-1]) or [""]
        lines.append(_line([*row[:-1], wrapped[0]], widths, right))
        lines.extend(_line([*[""] * (len(headers) - 1), more], widths, right) for more in wrapped[1:])
    return "\n".join(lines)


def reads_as_number(text: str) -> bool:
    """Return whether a cell reads as a number, with or without a percent sign."""
    return text.removesuffix(" %").replace(".", "", 1).replace(",", "").isdigit()


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    parts = [
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(cells, widths, right, strict=True)
    ]
    return GAP.join(parts).rstrip()
