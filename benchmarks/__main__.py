"""Measure what the router and sync cost: ``python -m benchmarks``, about four minutes.

Sync needs a PostgreSQL whose user may create databases (see ``benchmarks.sync``); without one it is left out.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.forwarding import CLIENTS, ROOT, Target, measure
from benchmarks.sync import SERVER

AIM_MICROSECONDS = 20.0
AIM_RATIO = 2.0


def main() -> None:
    """Print the tables."""
    started = time.monotonic()
    print("What the router adds to a request that stays in legacy")
    print("(processor time, medians, with and without it in turns)\n")
    overhead = subprocess.run(
        [sys.executable, "-m", "benchmarks.overhead"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=90
    )
    print(overhead_table(json.loads(overhead.stdout.splitlines()[-1])))
    parts = subprocess.run(
        [sys.executable, "-m", "benchmarks.parts"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    for name, cost in json.loads(parts.stdout.splitlines()[-1]).items():
        print(f"  {name:40}{cost:7.2f} us by itself (aim 2)")
    print("\nWhat a seam adds to a call that stays in legacy")
    print("(processor time, medians; a write next to the same call in transaction.atomic)\n")
    seams = subprocess.run(
        [sys.executable, "-m", "benchmarks.seams"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=90
    )
    print(seams_table(json.loads(seams.stdout.splitlines()[-1])))
    print("\nForwarding 550 bytes of JSON (gunicorn, 1 worker with 16 threads, everything on this machine)\n")
    with tempfile.TemporaryDirectory(prefix="strangler-bench-") as folder:
        targets, notes = measure(Path(folder))
    print(forwarding_table(targets))
    for note in notes:
        print(f"  ({note})")
    print("\nWhat data sync costs on PostgreSQL", flush=True)
    if subprocess.run([sys.executable, "-m", "benchmarks.sync"], cwd=ROOT, timeout=900, check=False).returncode:
        print(f"  It could not be measured at {SERVER}. BENCH_POSTGRES_URL names another server.")
    print(f"\n{time.monotonic() - started:.0f} s. Only ratios of one run mean anything on another machine.")


def overhead_table(rows: list[dict[str, Any]]) -> str:
    """Return the first table."""
    lines = [f"  {'':28}{'client':12}{'without':>10}{'with':>10}{'added':>10}{'ratio':>8}"]
    for row in rows:
        added = row["added"]
        verdict = "" if added <= AIM_MICROSECONDS else f"  over the aim of {AIM_MICROSECONDS:.0f} us"
        lines.append(
            f"  {row['state']:28}{row['client']:12}{row['without']:7.0f} us{row['with']:7.0f} us{added:7.1f} us"
            f"{row['with'] / row['without']:8.3f}{verdict}"
        )
    return "\n".join(lines)


def seams_table(rows: list[dict[str, Any]]) -> str:
    """Return the table of function-level switches."""
    lines = [f"  {'':52}{'plain':>11}{'switched':>11}{'added':>11}"]
    for row in rows:
        over = row["name"].startswith("seam") and row["added"] > AIM_MICROSECONDS
        verdict = f"  over the aim of {AIM_MICROSECONDS:.0f} us" if over else ""
        lines.append(
            f"  {row['name']:52}{row['plain']:8.2f} us{row['switched']:8.2f} us{row['added']:8.2f} us{verdict}"
        )
    return "\n".join(lines)


def forwarding_table(targets: list[Target]) -> str:
    """Return the second table, with every rate as a multiple of django-revproxy's."""
    base = next(target for target in targets if target.name == "django-revproxy")
    head = "".join(f"{f'{clients} client' + 's' * (clients > 1):>26}" for clients in CLIENTS)
    lines = [f"  {'':28}{head}"]
    for target in targets:
        cells = "".join(
            f"{target.rate(clients):12.0f}/s {target.rate(clients) / base.rate(clients):8.2f} x" + "  "
            for clients in CLIENTS
        )
        lines.append(f"  {target.name:28}{cells}")
    for name in ("ours ahead of Django", "our middleware"):
        ours = next(target for target in targets if target.name == name)
        ratios = {clients: ours.rate(clients) / base.rate(clients) for clients in CLIENTS}
        verdict = "reached" if min(ratios.values()) >= AIM_RATIO else "not reached"
        said = " and ".join(f"{ratio:.2f} times with {clients}" for clients, ratio in ratios.items())
        lines.append(f"  {name}: {said} clients; the aim of {AIM_RATIO:.0f} is {verdict}")
    lines.append(_where_the_time_goes(targets))
    return "\n".join(lines)


def _where_the_time_goes(targets: list[Target]) -> str:
    named = {target.name: 1e6 / target.rate(1) for target in targets}
    alone, upstream = named["Django, forwarding nothing"], named["the upstream itself"]
    parts = [f"{name} {named[name] - alone:.0f} us on top" for name in ("our middleware", "django-revproxy")]
    return (
        f"  One client, microseconds per request: the upstream answers in {upstream:.0f}, gunicorn with Django's stack "
        f"and no\n  forwarding takes {alone:.0f}; forwarding puts {' and '.join(parts)}."
    )


if __name__ == "__main__":
    main()
