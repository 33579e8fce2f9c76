"""Say what comparisons came to, for people and for machines."""

from collections.abc import Mapping
from typing import Any

from router.shadow.runner import LEGACY
from router.traffic_api import ShadowSummary

INCONCLUSIVE = "inconclusive: no comparisons"


def as_json(summary: ShadowSummary) -> dict[str, Any]:
    """Return the summary as JSON; a match rate that nobody measured is null."""
    return {
        "service": summary.service,
        "since": summary.since.isoformat(),
        "until": summary.until.isoformat() if summary.until else None,
        "verdict": "measured" if summary.conclusive else INCONCLUSIVE,
        "compared": summary.compared,
        "matched": summary.matched,
        "mismatched": summary.mismatched,
        "errors": summary.errors,
        "error_causes": dict(summary.error_causes),
        "changed": summary.changed,
        "match_rate": summary.match_rate,
        "interval_95": list(summary.interval) if summary.interval else None,
        "noise": summary.noise,
        "dropped": dict(summary.dropped),
        "switched": dict(summary.switched),
        "worst_fields": [{"field": item.field, "count": item.count} for item in summary.worst_fields],
        "examples": [{**example, "at": example["at"].isoformat()} for example in summary.examples],
    }


def as_text(summary: ShadowSummary) -> str:
    """Return the summary as a short page."""
    lines = [f"Shadow of {summary.service} since {summary.since:%Y-%m-%d %H:%M} UTC", ""]
    lines.append(f"  match rate  {_rate(summary)}")
    lines.append(
        f"  verdicts    {summary.matched} matched, {summary.mismatched} mismatched, "
        f"{summary.errors} errors{_causes(summary.error_causes)}"
    )
    noise = "" if summary.noise is None else f" ({summary.noise:.1%} of all)"
    lines.append(f"  noise       {summary.changed} changed while they were compared{noise}")
    lines.append(f"  dropped     {sum(summary.dropped.values())}{_causes(summary.dropped)}")
    if summary.switched:
        told = (f"{which.replace(':', ' for ')} {count}" for which, count in summary.switched.items())
        lines.append(f"  switched    {', '.join(told)}")
    if summary.worst_fields:
        lines += ["", "  worst fields (in stored examples)"]
        lines += [f"    {item.count:6}  {item.field}" for item in summary.worst_fields]
    if summary.examples:
        lines += ["", "  examples"]
        for example in summary.examples:
            lines += _example(example)
    return "\n".join(lines)


def _rate(summary: ShadowSummary) -> str:
    if summary.match_rate is None or summary.interval is None:
        return INCONCLUSIVE
    low, high = summary.interval
    return f"{summary.match_rate:.2%} of {summary.compared} (95 % interval {low:.2%} to {high:.2%})"


def _causes(counts: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{cause} {count}' for cause, count in counts.items())})" if counts else ""


def _example(example: Mapping[str, Any]) -> list[str]:
    cause = f" {example['cause']}" if example["cause"] else ""
    lines = [f"    {example['at']:%H:%M:%S} {example['method']} {example['path']}: {example['outcome']}{cause}"]
    copy = "service" if example["answered_by"] == LEGACY else example["store"]
    for difference in example["differences"][:5]:
        given, copied = difference["legacy"], difference["extracted"]
        lines.append(
            f"      {difference['path']} ({difference['kind']}): {example['answered_by']} {given!r}, {copy} {copied!r}"
        )
    return lines
