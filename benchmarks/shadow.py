"""What shadowing costs the customer: ``python -m benchmarks.shadow``, about 13 minutes (``--quick``: two).

Every GET of a small monolith is compared with a service that is well, slow, dead or broken. The same requests are sent,
in turns, to a monolith without shadowing and to one in which laboratory compares. Only ratios of one run mean anything;
what sending the same once more comes to shows how much. ``--long well`` takes as long for one of them as the others for
all four, and can tell a few percent.
"""

import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.forwarding import ROOT, gunicorn

AIM = 1.05
CLIENTS = 4
PER_SECOND = 15.0
"""Requests of each client; a server that is not saturated shows what its customers wait for."""
ROUNDS, SECONDS = 16, 3.0
QUICK_ROUNDS, QUICK_SECONDS = 5, 1.0
LONG_ROUNDS = 64
DRAWS = 400
PROCESSORS = sorted(os.sched_getaffinity(0))
SITES, OTHERS = (set(PROCESSORS[:1]), set(PROCESSORS[1:])) if len(PROCESSORS) > 1 else (set(PROCESSORS),) * 2
"""One processor is the sites', so that it shows what their customers pay, and not what a neighbour does."""
FAULTS = ("well", "slow", "dead", "broken")


@dataclass
class Way:
    """One address, and how long its answers took in each round."""

    name: str
    port: int
    path: str
    rounds: list[list[float]] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Return the latency below which this share of all requests lies."""
        ordered = sorted(seconds for found in self.rounds for seconds in found)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def ratio(self, other: "Way", share: float) -> float:
        """Return how many times as long as the other's a percentile of all requests is."""
        return self.percentile(share) / other.percentile(share)

    def ratio_between(self, other: "Way", share: float) -> tuple[float, float]:
        """Return where the ratio lies with 95 %: rounds drawn again, with replacement (bootstrap, Efron 1979)."""
        dice, found = random.Random(1), []
        for _ in range(DRAWS):
            drawn = dice.choices(range(len(self.rounds)), k=len(self.rounds))
            mine, its = (sorted(s for n in drawn for s in way.rounds[n]) for way in (self, other))
            found.append(_percentile(mine, share) / _percentile(its, share))
        found.sort()
        return found[int(0.025 * DRAWS)], found[int(0.975 * DRAWS)]


def main(*faults: str, quick: bool, long: bool = False) -> None:
    """Print the table."""
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if quick else (LONG_ROUNDS if long else ROUNDS, SECONDS)
    with on(OTHERS), tempfile.TemporaryDirectory(prefix="strangler-bench-") as folder:
        for fault in faults or FAULTS:
            measured(Path(folder), fault, rounds, seconds)


def measured(folder: Path, fault: str, rounds: int, seconds: float) -> None:
    """Measure and print what one fault of the service does."""
    with ExitStack() as stack:
        service = stack.enter_context(service_with(fault))
        plain = stack.enter_context(site(folder / f"{fault}-plain.sqlite3", service, percent=0))
        shadowed = stack.enter_context(site(folder / f"{fault}-shadowed.sqlite3", service, percent=100))
        address = quote(f"http://127.0.0.1:{service}/api/orders/", safe="")
        ways = [
            Way("no shadowing", plain, "/api/orders/"),
            Way("the same again", plain, "/api/orders/"),
            Way("the router's shadow", shadowed, "/api/orders/"),
            Way("laboratory", plain, f"/laboratory/?service={address}"),
        ]
        for way in ways[:3]:
            load(way, 1.0)
            way.rounds.clear()
        before = state(shadowed)
        for number in range(rounds):
            for way in ways if number % 2 else reversed(ways):
                load(way, seconds)
        print_table(fault, ways, before, state(shadowed))


def load(way: Way, seconds: float) -> None:
    """Send what the clients send, and note how long each waited."""
    found: list[list[float]] = [[] for _ in range(CLIENTS)]
    threads = [threading.Thread(target=ask, args=(way, seconds, number, found[number])) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    way.rounds.append([latency for each in found for latency in each])


def ask(way: Way, seconds: float, number: int, latencies: list[float]) -> None:
    """Send one request after the other, each at its own moment, whatever became of the one before."""
    connection = http.client.HTTPConnection("127.0.0.1", way.port, timeout=30)
    due = time.perf_counter() + number / CLIENTS / PER_SECOND
    until = due + seconds
    while due < until:
        time.sleep(max(0.0, due - time.perf_counter()))
        started = time.perf_counter()
        connection.request("GET", way.path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or not body:
            raise ValueError(f"{way.name} answered {answer.status} {body[:200]!r}")
        latencies.append(time.perf_counter() - started)
        due = max(due + 1 / PER_SECOND, time.perf_counter())
    connection.close()


def state(port: int) -> dict[str, Any]:
    """Ask a site how it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/state/")
    found: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return found


def print_table(fault: str, ways: list[Way], before: dict[str, Any], after: dict[str, Any]) -> None:
    """Print what one fault has done."""
    print(f"\nThe service is {fault}")
    base = ways[0]
    for way in ways:
        low, high = way.ratio_between(base, 0.99)
        verdict = f"  over the aim of {AIM}" if way.name.endswith("shadow") and low > AIM else ""
        p50, p99 = (way.percentile(share) * 1000 for share in (0.5, 0.99))
        requests = sum(map(len, way.rounds))
        print(
            f"  {way.name:20}p50{p50:9.2f} ms {way.ratio(base, 0.5):8.3f} x   p99{p99:9.2f} ms "
            f"{way.ratio(base, 0.99):8.3f} x ({low:.2f} to {high:.2f})   {requests:6} requests{verdict}"
        )
    compared = {what: count - before["came"].get(what, 0) for what, count in after["came"].items()}
    told = ", ".join(f"{what} {count}" for what, count in sorted(compared.items()) if count)
    more = (after["rss"] - before["rss"]) / 1024
    print(f"  comparisons: {told or 'none'}; {after['held']} bytes held at the end")
    print(f"  the shadowing process: {more:+.0f} KiB, {len(before['threads'])} threads -> {len(after['threads'])}")


@contextmanager
def service_with(fault: str) -> Iterator[int]:
    """Run the service; its port, at which nobody listens for a dead one."""
    with gunicorn("benchmarks.shadowed.service:application", {"BENCH_FAULT": fault}, nice=10) as port:
        if fault != "dead":
            yield port
    if fault == "dead":
        yield port


@contextmanager
def site(database: Path, service: int, *, percent: int) -> Iterator[int]:
    """Run the small monolith; its port."""
    environment = {
        "DJANGO_SETTINGS_MODULE": "benchmarks.shadowed.settings",
        "BENCH_DATABASE": str(database),
        "BENCH_UPSTREAM": f"http://127.0.0.1:{service}",
        "BENCH_SHADOW": str(percent),
    }
    migrate = [sys.executable, "-m", "django", "migrate", "--verbosity", "0", "--skip-checks"]
    subprocess.run(migrate, cwd=ROOT, env={**os.environ, **environment}, check=True, timeout=60)
    with ExitStack() as stack:
        with on(SITES):
            port = stack.enter_context(gunicorn("benchmarks.shadowed.wsgi:application", environment))
        yield port


@contextmanager
def on(processors: set[int]) -> Iterator[None]:
    """Let what is started in the block have these processors."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _percentile(latencies: list[float], share: float) -> float:
    ordered = sorted(latencies)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*[name for name in given if name in FAULTS], quick="--quick" in given, long="--long" in given)
