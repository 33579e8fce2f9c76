"""Run every test on SQLite, on PostgreSQL what a database has a part in; with --coverage, hold that to a floor."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.postgres import VARIABLE, Postgres, drop_leftovers, is_local, postgres

ROOT = Path(__file__).resolve().parent.parent
FLOOR = 96
"""Percent of lines and branches that have to be covered; it only ever rises."""
WORKERS = "3"
RUN_SECONDS = 900
MEASURED = ("--cov", "--cov-report=")
MEASURED_WHERE_MARKED = ("--measure-marked",)
"""Tracing slows a test down by half: on the second database, only tests that reach lines of its own are traced."""
COMPILED_ONCE = {"PYTHONDONTWRITEBYTECODE": ""}
"""Dozens of processes import the same modules, and each would compile them anew."""
ELSEWHERE = {"DJANGO_SETTINGS_MODULE": "tests.elsewhere.settings"}
"""The same promises on a project that is unlike the shop, and what only such a project shows."""


def main(arguments: Sequence[str]) -> int:
    """Return the exit code: 0 if every run passed."""
    measure = "--coverage" in arguments
    arguments = [one for one in arguments if one != "--coverage"]
    with tempfile.TemporaryDirectory(prefix="strangler-coverage-") as folder, postgres() as server:
        if server.url:
            print(f"PostgreSQL: {server.origin}", flush=True)
        else:
            print(f"skipped: every test on PostgreSQL, because {server.why_not}", flush=True)
        code = 0
        for number, (name, given, options) in enumerate(runs(server, arguments, measure=measure)):
            measured = {"COVERAGE_FILE": str(Path(folder) / f"coverage.{number}")}
            code = run(name, {**measured, **given}, options) or code
        if measure:
            code = hold_to_the_floor(Path(folder)) or code
    if not server.url and os.environ.get("CI"):
        print("tests: failed, because in CI a PostgreSQL has to be there")
        return code or 1
    return code


def runs(
    server: Postgres, arguments: Sequence[str], *, measure: bool
) -> Iterator[tuple[str, dict[str, str], tuple[str, ...]]]:
    """Yield the name, the environment and the options of each run of pytest."""
    databases = [("SQLite", {"TEST_DATABASE": "sqlite"}, MEASURED if measure else ())]
    if server.url:
        databases.append(("PostgreSQL", _settings(server), MEASURED_WHERE_MARKED if measure else ()))
    for name, given, measured in databases:
        if arguments:
            yield name, given, tuple(arguments)
        else:
            yield name, given, measured if name == "SQLite" else (*measured, "--database-matters")
    if not arguments:
        for name, given, measured in databases:
            yield f"{name}, another project", {**given, **ELSEWHERE}, (*measured, "tests/core", "tests/elsewhere")


def run(name: str, settings: Mapping[str, str], options: Sequence[str]) -> int:
    """Run pytest once and return its exit code; what it leaves in its scratch directory goes with it."""
    print(f"\n=== {name} ===", flush=True)
    shared_out = ("-n", WORKERS, "--dist", "loadscope", "--no-loadscope-reorder")
    command = [sys.executable, "-m", "pytest", *shared_out, *options]
    with tempfile.TemporaryDirectory(prefix="strangler-tests-", ignore_cleanup_errors=True) as scratch:
        environment = {**os.environ, **COMPILED_ONCE, **settings, "SHOP_VAR": scratch}
        try:
            return subprocess.run(command, cwd=ROOT, env=environment, timeout=RUN_SECONDS, check=False).returncode
        except subprocess.TimeoutExpired:
            print(f"tests: the run on {name} was not done after {RUN_SECONDS} s and was ended", flush=True)
            return 1


def hold_to_the_floor(folder: Path) -> int:
    """Report what all runs together have covered, and return 0 if that is enough."""
    environment = {**os.environ, "COVERAGE_FILE": str(folder / "coverage")}
    report = ("report", "--skip-covered", f"--fail-under={FLOOR}")
    for arguments in (("combine", "--quiet", str(folder)), report):
        command = [sys.executable, "-m", "coverage", *arguments]
        code = subprocess.run(command, cwd=ROOT, env=environment, timeout=RUN_SECONDS, check=False).returncode
    return code


def _settings(server: Postgres) -> dict[str, str]:
    """Return the environment of a run on the server, with leftovers of killed runs removed."""
    if is_local(server.url):
        for name in drop_leftovers(server.url):
            print(f"dropped {name}, left over from a run that was killed", flush=True)
    return {"TEST_DATABASE": "postgres", VARIABLE: server.url}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
