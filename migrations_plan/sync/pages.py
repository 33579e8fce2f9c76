"""What the `sync` command prints for people."""

from collections.abc import Sequence
from datetime import datetime

from migrations_plan.sync import owner_pages
from migrations_plan.sync.backfill import Pass
from migrations_plan.sync.owners import Owners
from migrations_plan.sync.standings import BackfillStanding, DirectionStanding, Ran, Run, Standing, Waiting


def standing(found: Standing, run: Run | None, both: Owners | None = None) -> str:
    """Return how sync of an aggregate stands, and who owns what on both sides where that was asked."""
    owners = (
        ", ".join(f"{count} {state}" for state, count in sorted(found.owners.items())) or "nobody wrote it down yet"
    )
    rows: tuple[tuple[str, str], ...] = (
        ("capture", _capture(found)),
        ("buckets here", owners + (f"; in between: {owner_pages.ranges(found.between)}" if found.between else "")),
        ("backfill", _backfill(found.backfill)),
        *((one.name, _direction(one)) for one in found.directions),
        ("parked here", f"{found.parked}, see `sync waiting {found.aggregate}`" if found.parked else "nothing"),
        ("verified", _run(run) if run else f"never; `sync verify {found.aggregate}` compares both sides"),
    )
    if found.held.count:
        rows = (*rows, ("changes of hands", owner_pages.held(found.held)))
    if both is not None:
        rows = (*rows, ("owners", both.away or owner_pages.counted(both)))
    return "\n".join([found.aggregate, *(f"  {name:<20} {text}" for name, text in rows)])


def waiting(found: Sequence[Waiting]) -> str:
    """Return what waits for another try."""
    lines = [
        f"{one.key:<12} version {one.gen:<5} {'sent, not accepted' if one.where == 'out' else 'arrived, not applied'}, "
        f"{one.tries} tries: {one.reason}"
        for one in found
    ]
    return "\n".join(lines) or "Nothing waits for another try."


def marking(done: Pass) -> str:
    """Return how far the backfill is, in one line."""
    share = f"{done.marked / done.total:.0%}" if done.total else "100%"
    waits = f"; waits: {done.throttled}" if done.throttled else ""
    return f"{done.marked} of {done.total} marked ({share}){waits}"


def verification(found: Run) -> str:
    """Return what a verification found."""
    lines = [f"{one.key:<12} {one.kind:<10} {one.detail}" for one in found.findings]
    more = found.corrupt - len(found.findings)
    if more > 0:
        lines.append(f"... and {more} more")
    return "\n".join([*lines, _run(found)])


def ran(found: Ran) -> str:
    """Return what a pass of the relay and the backfill did."""
    parts = [str(report) for report in found.reports]
    if found.backfill is not None and not found.backfill.finished:
        parts.append(f"backfill: {marking(found.backfill)}")
    return "; ".join(parts)


def _capture(found: Standing) -> str:
    if not found.captured:
        return f"not installed; `sync install {found.aggregate}` does"
    gaps = f"; found missing and put back {found.gaps} times" if found.gaps else ""
    if found.missing_triggers:
        return f"BROKEN: {', '.join(found.missing_triggers)}; `sync install {found.aggregate}` mends it{gaps}"
    return f"installed{gaps}"


def _backfill(found: BackfillStanding | None) -> str:
    if found is None:
        return "not begun"
    if found.finished_at is not None:
        return f"done {_time(found.finished_at)}, {found.marked} marked"
    return f"{found.marked} of {found.total} ({found.fraction:.0%})"


def _direction(found: DirectionStanding) -> str:
    parts = []
    if found.marked is not None:
        oldest = f", the oldest since {found.oldest_seconds:.1f} s" if found.oldest_seconds is not None else ""
        held = f", {found.held} not accepted" if found.held else ""
        parts.append(f"{found.marked} to send{oldest}{held}")
    if found.lag_p50 is not None and found.lag_p99 is not None:
        parts.append(f"lag p50 {_seconds(found.lag_p50)}, p99 {_seconds(found.lag_p99)} of {found.lag_samples}")
    else:
        parts.append("no lag measured in the last 5 min")
    return "; ".join(parts)


def _run(found: Run) -> str:
    when = _time(found.finished_at) if found.finished_at else f"begun {_time(found.started_at)}, not finished"
    return f"{when}: {found.compared} compared, {found.corrupt} differ, {found.unresolved} could not be told"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
