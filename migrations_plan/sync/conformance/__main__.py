"""The command: checks an address, prints what it found, and ends with 0 (all passed), 1 (not so) or 2 (usage)."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from migrations_plan.sync.conformance.caller import Caller
from migrations_plan.sync.conformance.outcomes import Failed, Finding, Verdict
from migrations_plan.sync.conformance.run import run
from migrations_plan.sync.conformance.samples import Unusable, read

PASSED, FAILED, USAGE = 0, 1, 2
MAX_BODY = 32_000_000
SECRET = "SYNC_SECRET"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks; return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    secret = options.secret or os.environ.get(SECRET, "")
    if not secret:
        parser.error(f"give --secret, or set {SECRET}")
    try:
        samples = read(options.document)
    except Unusable as unusable:
        sys.stderr.write(f"{unusable}\n")
        return USAGE
    caller = Caller(
        options.url, secret=secret, audience=options.audience or options.aggregate, aggregate=options.aggregate
    )
    findings: list[Finding] = []
    trouble = ""
    try:
        for finding in run(caller, samples, max_body=options.max_body):
            findings.append(finding)
            if not options.json:
                sys.stdout.write(_line(finding))
    except Failed as failed:
        trouble = str(failed)
    sys.stdout.write(_as_json(options, findings, trouble) if options.json else _summary(findings, trouble))
    passed = not trouble and all(finding.verdict is not Verdict.FAILED for finding in findings)
    return PASSED if passed else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m migrations_plan.sync.conformance",
        description="Check that a service keeps the sync protocol. It writes and deletes "
        "the documents that it is given: point it at a test database.",
    )
    parser.add_argument("url", help="under which the verbs stand, e.g. http://127.0.0.1:8103/strangler/sync/")
    parser.add_argument("--secret", help=f"what tokens are signed with; from the environment, {SECRET}, if left out")
    parser.add_argument("--audience", help="to whom tokens are made out; the aggregate's name if left out")
    parser.add_argument("--aggregate", required=True)
    parser.add_argument(
        "--document", required=True, type=Path, help='a JSON file with one {"key", "bucket", "data"} or a list of them'
    )
    parser.add_argument("--max-body", type=int, default=MAX_BODY, help="the largest body in bytes that is accepted")
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser


def _line(finding: Finding) -> str:
    reason = f"\n      {finding.reason}" if finding.reason else ""
    return f"{finding.verdict:<4}  {finding.check:<28}  {finding.rule}{reason}\n"


def _summary(findings: Sequence[Finding], trouble: str) -> str:
    counts = ", ".join(f"{_count(findings, verdict)} {word}" for verdict, word in _WORDS.items())
    return f"{counts}\n" + (f"The checks ended early: {trouble}\n" if trouble else "")


def _as_json(options: argparse.Namespace, findings: Sequence[Finding], trouble: str) -> str:
    report = {
        "url": options.url,
        "aggregate": options.aggregate,
        **{word: _count(findings, verdict) for verdict, word in _WORDS.items()},
        "trouble": trouble,
        "checks": [
            {"check": one.check, "rule": one.rule, "verdict": one.verdict.lower(), "reason": one.reason}
            for one in findings
        ],
    }
    return msgspec.json.format(msgspec.json.encode(report)).decode() + "\n"


def _count(findings: Sequence[Finding], verdict: Verdict) -> int:
    return sum(1 for one in findings if one.verdict is verdict)


_WORDS = {Verdict.PASSED: "passed", Verdict.FAILED: "failed", Verdict.SKIPPED: "skipped"}

if __name__ == "__main__":
    sys.exit(main())
