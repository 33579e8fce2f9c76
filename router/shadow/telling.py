"""Verdicts, rules and examples as tables for people and as JSON for machines."""

from collections.abc import Iterable, Sequence
from typing import Any

from router.models.shadow import ShadowRule
from router.models.traffic import ShadowMismatch
from router.shadow.runner import LEGACY, Verdict
from router.shadow.verdicts import FieldVerdict, RouteVerdict

SHOWN_FIELDS = 8
"""Fields of a route that are listed; the JSON has all."""


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return aligned lines."""
    cells = [[name.upper() for name in headers], *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def verdicts_as_text(service: str, found: Sequence[RouteVerdict]) -> str:
    """Return what is said of each route, and of the fields that differ on it."""
    if not found:
        return "No comparison was counted: inconclusive."
    lines = table(
        ("route", "store", "says", "compared", "asked twice", "missing", "why"),
        (
            (
                one.counts.route,
                one.counts.store,
                one.says,
                int(one.counts.compared),
                int(one.counts.asked_twice),
                told_missing(one.missing, one.says),
                one.why,
            )
            for one in found
        ),
    )
    for one in found:
        if one.fields:
            lines += ["", f"  {one.counts.route} ({one.counts.store}), field by field"]
            lines += [f"    {line}" for line in _fields(one)]
        lines += [
            f"    proposal, not applied: shadow ignore {service} '{field}' --route {one.counts.route} --why ...   "
            "(it differs on one side alone: noise)"
            for field in one.proposals
        ]
    return "\n".join(lines)


def _fields(one: RouteVerdict) -> list[str]:
    lines = table(
        ("says", "field", "stays different", "noise", "at first", "at first only", "missing", "why"),
        (
            (
                field.says,
                field.counts.field,
                f"{int(field.counts.stayed)} ({_range(field.differs)})",
                f"{int(field.counts.noise)} ({_range(field.noise)})",
                int(field.counts.raw),
                int(field.counts.unsteady),
                told_missing(field.missing, field.says),
                field.why,
            )
            for field in one.fields[:SHOWN_FIELDS]
        ),
    )
    more = len(one.fields) - SHOWN_FIELDS
    return [*lines, f"... and {more} more fields"] if more > 0 else lines


def _range(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:.2%} to {bounds[1]:.2%}"


def told_missing(missing: int | None, says: str) -> str:
    """Return how many samples are missing, in a word."""
    if says != "inconclusive":
        return "-"
    return "no number" if missing is None else str(missing)


def verdict_as_json(one: RouteVerdict) -> dict[str, Any]:
    """Return what is said of a route."""
    counts = one.counts
    return {
        "route": counts.route,
        "store": counts.store,
        "says": one.says.value,
        "why": one.why,
        "missing": one.missing,
        "compared": counts.compared,
        "changed": counts.changed,
        "differed": counts.differed,
        "unsteady": counts.unsteady,
        "asked_twice": counts.asked_twice,
        "fields": [_field_as_json(field) for field in one.fields],
        "proposals": list(one.proposals),
    }


def _field_as_json(one: FieldVerdict) -> dict[str, Any]:
    counts = one.counts
    return {
        "field": counts.field,
        "says": one.says.value,
        "why": one.why,
        "missing": one.missing,
        "raw": counts.raw,
        "stayed": counts.stayed,
        "noise": counts.noise,
        "unsteady": counts.unsteady,
        "differs_between": list(one.differs),
        "noise_between": list(one.noise),
        "too_noisy": one.too_noisy,
    }


def rule_as_json(rule: ShadowRule) -> dict[str, Any]:
    """Return a recorded rule."""
    return {
        "id": rule.pk,
        "service": rule.service,
        "route": rule.route or None,
        "path": rule.path,
        "reason": rule.reason,
        "made_by": rule.made_by,
        "made_at": rule.made_at.isoformat(),
        "removed_by": rule.removed_by or None,
        "removed_at": rule.removed_at.isoformat() if rule.removed_at else None,
    }


def rules_as_text(rules: Sequence[ShadowRule], declared: Sequence[tuple[str, str]]) -> str:
    """Return the rules in force: those that were recorded, and those declared beside routes."""
    recorded = table(
        ("id", "route", "ignores", "by", "at (UTC)", "removed", "why"),
        (
            (
                rule.pk,
                f"{rule.service}.{rule.route or '*'}",
                rule.path,
                rule.made_by,
                f"{rule.made_at:%Y-%m-%d %H:%M}",
                f"by {rule.removed_by}" if rule.removed_at else "",
                rule.reason,
            )
            for rule in rules
        ),
    )
    lines = recorded if rules else ["No rule was recorded."]
    return "\n".join([*lines, "", *(f"declared: {route}: {rule}" for route, rule in declared)]).rstrip()


def examples_as_text(examples: Sequence[ShadowMismatch]) -> str:
    """Return stored examples, one to a line."""
    if not examples:
        return "No example is stored."
    rows = (
        (row.pk, f"{row.at:%m-%d %H:%M:%S}", row.route, row.outcome, row.method, row.path, _what(row))
        for row in examples
    )
    return "\n".join(table(("id", "at (UTC)", "route", "outcome", "method", "path", "differs in"), rows))


def example_as_text(row: ShadowMismatch) -> str:
    """Return one example with both sides of each difference."""
    first, second = sides(row)
    head = (
        f"Example {row.pk}: {row.method} {row.path}, {row.at:%Y-%m-%d %H:%M:%S} UTC, {row.outcome} {row.cause}".rstrip()
    )
    rows = ((one["path"], one["kind"], repr(one["legacy"]), repr(one["extracted"])) for one in row.differences)
    return "\n".join([head, "", *table(("path", "kind", first, second), rows)])


def example_as_json(row: ShadowMismatch) -> dict[str, Any]:
    """Return one example."""
    names = ("service", "store", "answered_by", "route", "method", "path", "outcome", "cause", "fields", "differences")
    return {"id": row.pk, "at": row.at.isoformat(), **{name: getattr(row, name) for name in names}}


def sides(row: ShadowMismatch) -> tuple[str, str]:
    """Return what to call the side that answered, and the one that got the copy."""
    return row.answered_by, f"service ({row.store})" if row.answered_by == LEGACY else row.store


def replay_as_text(row: ShadowMismatch, verdict: Verdict) -> str:
    """Return what came of asking an example again, with the fields but without values, which nobody redacted."""
    lines = [f"{row.method} {row.path} is a {verdict.outcome} now{f' ({verdict.cause})' if verdict.cause else ''}."]
    lines += [f"  {one.path} ({one.kind})" for one in verdict.differences]
    noise = sorted(verdict.noise or ())
    if noise:
        lines.append(f"  {row.answered_by} differs from itself in {', '.join(noise)}: noise")
    return "\n".join(lines)


def _what(row: ShadowMismatch) -> str:
    return row.cause or ", ".join(row.fields[:4]) + (f" and {len(row.fields) - 4} more" if len(row.fields) > 4 else "")
