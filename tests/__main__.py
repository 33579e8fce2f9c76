"""Run every test on SQLite, on PostgreSQL what a database has a part in, and hold the coverage to a floor."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.postgres import VARIABLE, Postgres, drop_leftovers, is_local, postgres

ROOT = Path(__file__).resolve().parent.parent
FLOOR = 96
"""Percent of lines and branches that have to be covered; it only ever rises."""
WORKERS = "2"
RUN_SECONDS = 900
ELSEWHERE = {"DJANGO_SETTINGS_MODULE": "tests.elsewhere.settings"}
"""The same promises on a project that is unlike the shop, and what only such a project shows."""


def main(arguments: Sequence[str]) -> int:
    """Return the exit code: 0 if every run passed."""
    with tempfile.TemporaryDirectory(prefix="strangler-coverage-") as folder, postgres() as server:
        coverage = {"COVERAGE_FILE": str(Path(folder) / "coverage")}
        floor = () if arguments else ("--cov-report=term:skip-covered", f"--cov-fail-under={FLOOR}")
        if server.url:
            print(f"PostgreSQL: {server.origin}", flush=True)
        else:
            print(f"skipped: every test on PostgreSQL, because {server.why_not}", flush=True)
        runs = [("SQLite", {"TEST_DATABASE": "sqlite"})]
        if server.url:
            runs.append(("PostgreSQL", _settings(server)))
        if not arguments:
            runs += [(f"{name}, another project", {**given, **ELSEWHERE}) for name, given in runs]
        code = 0
        for number, (name, given) in enumerate(runs):
            extra = (*(("--cov-append",) if number else ()), *(floor if number == len(runs) - 1 else ()))
            what = ("tests/core", "tests/elsewhere") if ELSEWHERE.items() <= given.items() else arguments
            again = () if arguments or given["TEST_DATABASE"] == "sqlite" else ("--database-matters",)
            code = run(name, {**coverage, **given}, extra, (*again, *what)) or code
    if not server.url and os.environ.get("CI"):
        print("tests: failed, because in CI a PostgreSQL has to be there")
        return code or 1
    return code


def run(name: str, settings: Mapping[str, str], extra: Sequence[str], arguments: Sequence[str]) -> int:
    """Run pytest once and return its exit code; what it leaves in its scratch directory goes with it."""
    print(f"\n=== {name} ===", flush=True)
    coverage = ("--cov", "--cov-report=", *extra)
    shared_out = ("-n", WORKERS, "--dist", "loadscope", "--no-loadscope-reorder")
    command = [sys.executable, "-m", "pytest", *shared_out, *coverage, *arguments]
    with tempfile.TemporaryDirectory(prefix="strangler-tests-", ignore_cleanup_errors=True) as scratch:
        environment = {**os.environ, **settings, "SHOP_VAR": scratch}
        try:
            return subprocess.run(command, cwd=ROOT, env=environment, timeout=RUN_SECONDS, check=False).returncode
        except subprocess.TimeoutExpired:
            print(f"tests: the run on {name} was not done after {RUN_SECONDS} s and was ended", flush=True)
            return 1


def _settings(server: Postgres) -> dict[str, str]:
    """Return the environment of a run on the server, with leftovers of killed runs removed."""
    if is_local(server.url):
        for name in drop_leftovers(server.url):
            print(f"dropped {name}, left over from a run that was killed", flush=True)
    return {"TEST_DATABASE": "postgres", VARIABLE: server.url}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
