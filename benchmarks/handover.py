"""What a change of hands costs on PostgreSQL, in one run: ``python -m benchmarks.handover [ORDERS]``.

Eight writers with transactions of 30 ms write in one bucket while it goes to the service, and eight in the others.
Needs a PostgreSQL whose user may create databases, as ``benchmarks.sync`` does.
"""

import itertools
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import django
import psycopg

from benchmarks.sync import FILL, ORDERS, PARTS, databases, execute, run, service, timed

PORT = "8194"
WRITERS, TRANSACTION_SECONDS = 8, 0.03
HELD_LOOK_SECONDS = 0.02
"""How often a writer who is refused tries again: as often as the router looks for the owner of a write it holds."""
FLIPS, COMMITS, ROUNDS = 30, 300, 5
SIZE = 300_000

_numbers = itertools.count(1)


def main(arguments: list[str]) -> None:
    """Print the tables."""
    size = int(arguments[0]) if arguments else SIZE
    with databases() as (shop, own), tempfile.TemporaryDirectory(prefix="strangler-bench-") as folder:
        os.environ.update(
            {
                "SHOP_VAR": folder,
                "SHOP_DATABASE_URL": shop,
                "ORDERS_STORE": "own",
                "ORDERS_OWN_DATABASE_URL": own,
                "ORDERS_OWN_URL": f"http://127.0.0.1:{PORT}",
                "ORDERS_LOG_LEVEL": "WARNING",
                "SHOP_LOG_LEVEL": "ERROR",
                "DJANGO_SETTINGS_MODULE": "legacy_shop.settings",
            }
        )
        run("manage.py", "migrate", "-v", "0")
        run("-m", "extracted.orders", "migrate", "-v", "0")
        django.setup()
        for statement in FILL:
            execute(statement)
        fence()
        with service(PORT):
            filled(5_000)
            hold(shop, own)
            filled(size)
            whole(size)


def fence() -> None:
    """Print what the fence costs a write that is captured anyhow."""
    from migrations_plan.sync import operate

    operate.install("orders")
    found: dict[str, list[float]] = {"with": [], "without": []}
    whole_text = _functions()
    for _ in range(ROUNDS):
        for name, times in found.items():
            for text in whole_text:
                execute(text if name == "with" else _unfenced(text))
            times.append(timed(_one_by_one))
    for text in whole_text:
        execute(text)
    ratio = statistics.median(found["without"]) / statistics.median(found["with"])
    print("\nThe fence")
    print(f"  {COMMITS} commits of one row, with the fence as a share of without{ratio:13.2f}")


def _functions() -> list[str]:
    """Return the statements that make the functions of the triggers on orders."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_functiondef(p.oid) FROM pg_proc p "
            "WHERE p.proname LIKE 'strangler_capture_orders_orders_order_%'"
        )
        return [row[0] for row in cursor.fetchall()]


def _unfenced(text: str) -> str:
    """Return the function without the part that locks and looks."""
    begin, end = text.index("    SELECT array_agg(DISTINCT"), text.index("    INSERT INTO")
    return text[:begin] + text[end:]


def _one_by_one() -> None:
    for _ in range(COMMITS):
        execute(ORDERS, f"f{next(_numbers)}-", 1)


def filled(size: int) -> None:
    """Have this many orders on both sides."""
    from migrations_plan.sync import operate

    execute("DELETE FROM payments_paymentattempt")
    execute("DELETE FROM orders_orderline")
    execute("DELETE FROM orders_order")
    execute(ORDERS, f"s{size}-", size)
    for statement in PARTS:
        execute(statement)
    execute("ANALYZE")
    for name in operate.names():
        operate.install(name)
        operate.start_backfill(name, anew=True)
        operate.run_backfill(name, lambda done: None, lambda seconds, name=name: operate.relay_once(name))  # type: ignore[misc]
        while any(report.sent for report in operate.relay_once(name)):
            pass


@dataclass
class Load:
    """Writers in some buckets: when each of their writes was done, by the machine's monotonic clock."""

    done: list[float] = field(default_factory=list)

    def between(self, start: float, end: float) -> float:
        """Return how many writes a second were done in a time."""
        return sum(start <= one < end for one in self.done) / (end - start)

    def longest_gap(self) -> float:
        """Return the longest time between two writes."""
        return max((b - a for a, b in itertools.pairwise(sorted(self.done))), default=0.0)


def hold(shop: str, own: str) -> None:
    """Print for how long writes of a bucket are held, and what becomes of the others meanwhile."""
    from migrations_plan.sync.aggregates import find
    from migrations_plan.sync.handover import moving
    from migrations_plan.sync.handover.coordinator import Terms
    from migrations_plan.sync.handover.recheck import rechecked

    aggregate, sides = find("orders"), moving.both_sides("orders")
    # Nobody asks a router here, so nothing is announced to any.
    terms = Terms(wait=time.sleep, frozen=rechecked(aggregate, sides), announce_seconds=0.0)
    buckets = _buckets()
    gaps, ratios = [], []
    for number in range(FLIPS):
        bucket = sorted(buckets)[number % len(buckets)]
        others = [key for other, found in buckets.items() if other != bucket for key in found]
        with _writing(shop, own, buckets[bucket], others) as loads:
            time.sleep(0.7)
            began = time.monotonic()
            moved = moving.move("orders", "extracted", [bucket], between=sides, terms=terms)
            ended = time.monotonic()
            assert moved.done, moved
            time.sleep(0.5)
        inside, outside = loads
        gaps.append(inside.longest_gap() * 1000)
        ratios.append(outside.between(began, ended + 0.2) / max(outside.between(began - 0.6, began), 1e-9))
        moving.move("orders", "legacy", [bucket], between=sides, terms=terms)
    gaps.sort()
    p99 = gaps[min(len(gaps) - 1, len(gaps) * 99 // 100)]
    held = moving.audit.held_since(aggregate, _long_ago())
    milliseconds = TRANSACTION_SECONDS * 1000
    print(f"\nA bucket changes hands under {WRITERS} writers, transactions of {milliseconds:.0f} ms, {FLIPS} times")
    print(f"  no write in the bucket for: p50 {gaps[len(gaps) // 2]:.0f} ms, p99 {p99:.0f} ms (aim p99 250 ms)")
    print(f"  frozen, as the coordinator saw it: p50 {held.p50_ms} ms, p99 {held.p99_ms} ms")
    print(f"  writes in the other buckets meanwhile, as a share of before: {statistics.median(ratios):.2f} (aim 0.9)")


def _long_ago() -> Any:
    from datetime import UTC, datetime

    return datetime(2000, 1, 1, tzinfo=UTC)


def _buckets() -> dict[int, list[int]]:
    """Return order ids by bucket, of buckets with enough of them."""
    from migrations_plan.sync.models import Mark

    found: dict[int, list[int]] = {}
    for bucket, key in Mark.objects.filter(aggregate="orders", deleted=False).values_list("bucket", "key"):
        found.setdefault(bucket, []).append(int(key))
    return {bucket: keys for bucket, keys in found.items() if len(keys) >= WRITERS}


@contextmanager
def _writing(shop: str, own: str, *keys: list[int]) -> Iterator[list[Load]]:
    """Let eight writers change each of these lists of orders; the loads are there once the block has ended.

    They are a process of their own: as threads of this one they would stand in the coordinator's way.
    """
    spawned = multiprocessing.get_context("spawn")
    ours, theirs = spawned.Pipe()
    process = spawned.Process(target=_writers, args=(theirs, shop, own, keys), daemon=True)
    process.start()
    ours.recv()
    loads: list[Load] = []
    try:
        yield loads
    finally:
        ours.send("stop")
        loads += [Load(done=done) for done in ours.recv()]
        process.join()


def _writers(line: Connection, shop: str, own: str, keys: Sequence[list[int]]) -> None:
    """Write until told to stop, then tell when what was done."""
    stop = threading.Event()
    done: list[list[float]] = [[] for _ in keys]
    threads = [
        threading.Thread(target=_write, args=(stop, shop, own, of_these[number::WRITERS], done[place]))
        for place, of_these in enumerate(keys)
        for number in range(WRITERS)
    ]
    for thread in threads:
        thread.start()
    line.send("started")
    line.recv()
    stop.set()
    for thread in threads:
        thread.join()
    line.send(done)


def _write(stop: threading.Event, shop: str, own: str, keys: list[int], done: list[float]) -> None:
    """Change orders, at the shop or, where that refuses, at the service."""
    statements = (
        "UPDATE orders_order SET note = %s WHERE id = %s",
        "UPDATE own_store_order SET remark = %s WHERE id = %s",
    )
    turns = itertools.cycle(keys)
    with psycopg.connect(shop) as here, psycopg.connect(own) as there:
        homes = [(here, statements[0]), (there, statements[1])]
        while not stop.is_set():
            connection, statement = homes[0]
            try:
                connection.execute(statement, [str(next(_numbers)), next(turns)])
                time.sleep(TRANSACTION_SECONDS)
                connection.commit()
                done.append(time.monotonic())
            except psycopg.DatabaseError:
                connection.rollback()
                homes.reverse()
                time.sleep(HELD_LOOK_SECONDS)


def whole(size: int) -> None:
    """Print how long a whole cut-over and the way back take."""
    from migrations_plan.sync.handover import moving

    print(f"\nAll buckets of {size:,} orders")
    for to in ("extracted", "legacy"):
        found: list[Any] = []
        seconds = timed(lambda to=to, found=found: found.append(moving.move("orders", to, range(100))))  # type: ignore[misc]
        held = found[0].held
        assert found[0].done, found[0]
        frozen = f"p50 {held.p50_ms} ms, p99 {held.p99_ms} ms, longest {held.longest_ms} ms"
        print(f"  to {to}: {seconds:.1f} s; a bucket was frozen for {frozen}")


if __name__ == "__main__":
    main(sys.argv[1:])
