"""What the `sync` command prints for people about who owns what."""

from migrations_plan.sync.conf import SIDES
from migrations_plan.sync.handover.audit import Held
from migrations_plan.sync.owners import Owners, Range

WIDTHS = (9, 10, 14, 14)


def owners(found: Owners) -> str:
    """Return who owns which buckets, as both sides say."""
    lines = [f"{found.aggregate}: {counted(found)}"]
    if found.away:
        lines.append(f"! The other side did not say, so this is what is known here: {found.away}")
    lines.append(_line(("BUCKETS", "OWNER", *(side.upper() for side in SIDES), "TO BE OWNED BY")))
    lines += [_line(_cells(one)) for one in found.ranges]
    lines.append(between(found.aggregate, found.between))
    lines.append(held(found.held))
    return "\n".join(lines)


def counted(found: Owners) -> str:
    """Return how many buckets each side owns."""
    told = [f"{side} owns {found.count(side)}" for side in SIDES]
    nobody = found.count("nobody")
    return ", ".join([*told, f"nobody {nobody}"] if nobody else told)


def between(aggregate: str, buckets: tuple[int, ...]) -> str:
    """Return which buckets a coordinator has to go on with, and how."""
    if not buckets:
        return "No bucket is in between."
    return f"In between: {ranges(buckets)}. The sweeper goes on with them; `sync resume {aggregate}` does it at once."


def resumed(aggregate: str, found: tuple[int, ...], left: tuple[int, ...]) -> str:
    """Return what became of the buckets that were in between."""
    if not found and not left:
        return "No bucket was in between."
    if not left:
        return f"Buckets of {aggregate} that were in between and have an owner now: {ranges(found)}."
    return f"Buckets of {aggregate} that are still in between: {ranges(left)}."


def held(found: Held) -> str:
    """Return for how long nobody could write in buckets that changed hands."""
    if not found.count:
        return "No bucket changed hands in the last 24 h."
    return (
        f"{found.count} changes of hands in the last 24 h; nobody could write in a bucket for {found.p50_ms} ms (p50), "
        f"{found.p99_ms} ms (p99), {found.longest_ms} ms at most."
    )


def ranges(buckets: tuple[int, ...]) -> str:
    """Return numbers, those in a row as a range."""
    rows: list[list[int]] = []
    for bucket in sorted(buckets):
        if rows and rows[-1][-1] == bucket - 1:
            rows[-1].append(bucket)
        else:
            rows.append([bucket])
    return ", ".join(_span(row[0], row[-1]) for row in rows)


def _cells(found: Range) -> tuple[str, ...]:
    return (_span(found.first, found.last), found.owner, *(found.sides.get(side, "?") for side in SIDES), found.goal)


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _line(cells: tuple[str, ...]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=False)]
    return "  ".join(["", *padded, cells[-1]]).rstrip()
