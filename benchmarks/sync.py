"""What data sync costs on PostgreSQL, as ratios of one run: ``python -m benchmarks.sync [ORDERS ...]``.

Needs a PostgreSQL whose user may create databases: the one of ``BENCH_POSTGRES_URL``, or the one on this machine.
"""

import itertools
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
import psycopg

ROOT = Path(__file__).resolve().parent.parent
SERVER = os.environ.get("BENCH_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
SIZES = (10_000, 50_000)
"""About two minutes; the numbers in docs/sync.md are of 10,000 and 300,000."""
NAMES = (f"strangler_bench_shop_{os.getpid()}", f"strangler_bench_own_{os.getpid()}")
CUSTOMERS, PRODUCTS, LINES = 1_000, 20, 2
COMMITS, ROUNDS, BIG = 300, 5, 20_000
WRITES_A_SECOND, LAG_SECONDS = 200, 15

_series = itertools.count(1)

FILL = (
    "INSERT INTO auth_user (id, username, password, first_name, last_name, email, is_staff, is_active, is_superuser, "
    "date_joined) SELECT g, 'u' || g, '', '', '', '', false, true, false, now() "
    f"FROM generate_series(1, {CUSTOMERS}) g",
    "INSERT INTO catalog_category (id, name, slug) VALUES (1, 'c', 'c')",
    "INSERT INTO catalog_product (id, category_id, sku, slug, name, description, price, is_active, created_at) "
    f"SELECT g, 1, 's' || g, 's' || g, 'Thing ' || g, '', 9.99, true, now() FROM generate_series(1, {PRODUCTS}) g",
)
ORDERS = """
    INSERT INTO orders_order (number, customer_id, status, ship_name, ship_street, ship_city, ship_postcode,
        ship_country, currency, total, note, placed_at)
    SELECT %s || g, 1 + g %% 1000, 20, 'Ann Lee', g || ' Main Street', 'Springfield', '12345', 'US', 'USD', 19.98, '',
        now() FROM generate_series(1, %s) g
"""
PARTS = (
    """
    INSERT INTO orders_orderline (order_id, product_id, sku, name, quantity, unit_price, amount)
    SELECT o.id, 1 + n, 's', 'Thing', 1, 9.99, 9.99 FROM orders_order o, generate_series(1, 2) n
    """,
    """
    INSERT INTO payments_paymentattempt (order_id, kind, state, amount, currency, card, provider_key,
        provider_reference, failure, created_at)
    SELECT o.id, 'charge', 'succeeded', 19.98, 'USD', 'tok_visa', gen_random_uuid(), 'r', '', now() FROM orders_order o
    """,
)


def main(arguments: list[str]) -> None:
    """Print the tables."""
    sizes = [int(one) for one in arguments] or list(SIZES)
    with databases() as (shop, own), tempfile.TemporaryDirectory(prefix="strangler-bench-") as folder:
        port = str(free_port())
        environment = {
            "SHOP_VAR": folder,
            "SHOP_DATABASE_URL": shop,
            "ORDERS_STORE": "own",
            "ORDERS_OWN_DATABASE_URL": own,
            "ORDERS_OWN_URL": f"http://127.0.0.1:{port}",
            "ORDERS_LOG_LEVEL": "WARNING",
            "SHOP_LOG_LEVEL": "ERROR",
        }
        os.environ.update(environment)
        os.environ["DJANGO_SETTINGS_MODULE"] = "legacy_shop.settings"
        run("manage.py", "migrate", "-v", "0")
        run("-m", "extracted.orders", "migrate", "-v", "0")
        django.setup()
        with service(port):
            capture()
            rates = [whole(size, own) for size in sizes]
            lag()
        if len(sizes) > 1:
            print(
                f"\nGrowth from {sizes[0]:,} to {sizes[-1]:,} orders (1: a row costs the same however many there are)"
            )
            for number, what in enumerate(("backfill", "verify")):
                line(what, rates[-1][number] / rates[0][number], 0.8)


def capture() -> None:
    """Writes with capture as a share of writes without."""
    from migrations_plan.sync import operate

    for statement in FILL:
        execute(statement)
    without = {"commit": [], "big": []}
    with_capture: dict[str, list[float]] = {"commit": [], "big": []}
    for _ in range(ROUNDS):
        for kept in (without, with_capture):
            if kept is with_capture:
                operate.install("orders")
            kept["commit"].append(timed(one_by_one))
            kept["big"].append(timed(lambda: execute(ORDERS, f"b{next(_series)}-", BIG)))
            if kept is with_capture:
                operate.uninstall("orders")
    print("\nWrites with capture as a share of writes without")
    for name, aim, what in (
        ("commit", 0.95, f"{COMMITS} commits of one row"),
        ("big", 0.5, f"one insert of {BIG:,} rows"),
    ):
        ratio = statistics.median(without[name]) / statistics.median(with_capture[name])
        line(what, ratio, aim)
    execute("TRUNCATE orders_order CASCADE")
    execute("DELETE FROM strangler_sync_mark")


def one_by_one() -> None:
    """Insert rows, each in a transaction of its own."""
    for _ in range(COMMITS):
        execute(ORDERS, f"c{next(_series)}-", 1)


def whole(size: int, own: str) -> tuple[float, float]:
    """Backfill against COPY-and-upsert, verification against reading; return the orders a second of both."""
    from migrations_plan.sync import operate

    operate.uninstall("orders")
    execute("TRUNCATE orders_order CASCADE")
    execute("DELETE FROM strangler_sync_mark")
    execute("DELETE FROM strangler_sync_backfill")
    with past_the_fence(own) as connection:
        connection.execute("TRUNCATE own_store_order CASCADE")
        connection.execute("DELETE FROM strangler_sync_applied")
    execute(ORDERS, f"s{size}-", size)
    for statement in PARTS:
        execute(statement)
    execute("ANALYZE")
    rows = size * (2 + LINES)
    print(f"\n{size:,} orders, {rows:,} rows")
    copied = timed(lambda: copy_and_upsert(own))
    with past_the_fence(own) as connection:
        connection.execute("TRUNCATE own_store_order CASCADE")
    operate.install("orders")
    operate.start_backfill("orders", anew=True)
    backfilled = timed(backfill)
    line(f"backfill ({size / backfilled:,.0f} orders/s) against COPY and upsert", copied / backfilled, 0.3)
    found: list[Any] = []
    verified = timed(lambda: found.append(operate.run_verification("orders", lambda text: None)))
    assert found[0].clean, found[0]
    assert found[0].compared == size, found[0]
    read = timed(lambda: read_all(own))
    line(f"verify ({size / verified:,.0f} orders/s) against reading the rows of both sides", read / verified, 0.3)
    return size / backfilled, size / verified


def backfill() -> None:
    """Mark and relay until everything is over there."""
    from migrations_plan.sync import operate

    marking = threading.Thread(target=mark_all)
    marking.start()
    while True:
        done = not marking.is_alive()  # asked first: what is marked while the other way is looked at is not missed
        if not operate.relay_once("orders")[0].sent and done:
            break
    marking.join()


def mark_all() -> None:
    """Mark every key, in a thread of its own as a worker would."""
    from django.db import connections

    from migrations_plan.sync import operate

    operate.run_backfill("orders", lambda done: None, lambda seconds: time.sleep(seconds))
    connections.close_all()


def copy_and_upsert(own: str) -> None:
    """Read the shop's rows and bring them into the service's tables as fast as the database takes them."""
    with psycopg.connect(os.environ["SHOP_DATABASE_URL"]) as shop, past_the_fence(own) as target:
        for table, query in (
            ("own_store_order", OWN_ORDERS),
            ("own_store_item", OWN_ITEMS),
            ("own_store_attempt", OWN_ATTEMPTS),
        ):
            target.execute(f"CREATE TEMP TABLE incoming (LIKE {table} INCLUDING DEFAULTS)")
            with (
                shop.cursor().copy(f"COPY ({query}) TO STDOUT") as out,
                target.cursor().copy("COPY incoming FROM STDIN") as into,
            ):
                for part in out:
                    into.write(part)
            target.execute(f"INSERT INTO {table} SELECT * FROM incoming ON CONFLICT (id) DO NOTHING")
            target.execute("DROP TABLE incoming")
            target.execute(f"ANALYZE {table}")  # else the keys of the next one are checked by reading all of this one


@contextmanager
def past_the_fence(own: str) -> Iterator[psycopg.Connection]:
    """Connect to the service's database as sync itself does, which may write where the service is the replica."""
    with psycopg.connect(own, autocommit=True) as connection:
        connection.execute("SELECT set_config('strangler.applying', '1', false)")
        yield connection


OWN_ORDERS = (
    "SELECT id, number, customer_id, 'paid', NULL, ship_name, ship_street, ship_city, ship_postcode, ship_country, "
    "shipping_address_id, currency, (total * 100)::bigint, note, placed_at, paid_at, closed_at FROM orders_order"
)
OWN_ITEMS = (
    "SELECT id, product_id, sku, name, quantity, (unit_price * 100)::bigint, (amount * 100)::bigint, order_id "
    "FROM orders_orderline"
)
OWN_ATTEMPTS = (
    "SELECT id, kind, state, (amount * 100)::bigint, currency, card, provider_key, provider_reference, failure, "
    "created_at, settled_at, told_at, order_id FROM payments_paymentattempt"
)


def read_all(own: str) -> None:
    """Fetch all rows of both sides, and do nothing with them."""
    for url, tables in (
        (os.environ["SHOP_DATABASE_URL"], ("orders_order", "orders_orderline", "payments_paymentattempt")),
        (own, ("own_store_order", "own_store_item", "own_store_attempt")),
    ):
        with psycopg.connect(url) as connection:
            for table in tables:
                with connection.cursor(name="reading") as cursor:
                    cursor.itersize = 5_000
                    for _ in cursor.execute(f"SELECT * FROM {table}"):
                        pass


def lag() -> None:
    """Write at a steady rate while a relay runs as a worker runs it; print how long changes took."""
    from migrations_plan.sync import operate, relay
    from migrations_plan.sync.aggregates import find
    from migrations_plan.sync.sides import directions

    execute("DELETE FROM strangler_sync_lag")
    stop = threading.Event()
    writer = threading.Thread(target=write_steadily, args=(stop,))
    writer.start()
    aggregate, way = find("orders"), directions("orders")[0]
    relay.relay_for([aggregate], way, LAG_SECONDS, renew=lambda: None, wait=time.sleep)
    stop.set()
    writer.join()
    found = operate.standing("orders").directions[0]
    assert found.lag_p50 is not None
    assert found.lag_p99 is not None
    verdict = "" if found.lag_p99 < 0.5 else "  over the aim of 500 ms"
    print(f"\nLag at {WRITES_A_SECOND} writes/s for {LAG_SECONDS} s, {found.lag_samples:,} changes")
    print(f"  p50 {found.lag_p50 * 1000:.0f} ms, p99 {found.lag_p99 * 1000:.0f} ms (aim p99 500 ms){verdict}")


def write_steadily(stop: threading.Event) -> None:
    """Change orders, one commit each, as often as wanted."""
    with psycopg.connect(os.environ["SHOP_DATABASE_URL"], autocommit=True) as connection:
        keys = [row[0] for row in connection.execute("SELECT id FROM orders_order ORDER BY random() LIMIT 5000")]
        began, number = time.monotonic(), 0
        while not stop.is_set():
            connection.execute(
                "UPDATE orders_order SET note = %s WHERE id = %s", [str(number), keys[number % len(keys)]]
            )
            number += 1
            time.sleep(max(0.0, began + number / WRITES_A_SECOND - time.monotonic()))


# --- set-up ------------------------------------------------------------------------------------------------------
@contextmanager
def databases() -> Iterator[list[str]]:
    """Make the two databases for the length of the block."""
    with psycopg.connect(SERVER, autocommit=True) as connection:
        for name in NAMES:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name}")
    try:
        yield [urlsplit(SERVER)._replace(path=f"/{name}").geturl() for name in NAMES]
    finally:
        with psycopg.connect(SERVER, autocommit=True) as connection:
            for name in NAMES:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def service(port: str) -> Iterator[None]:
    """Run the orders service on its own store."""
    command = [sys.executable, "-m", "gunicorn", "extracted.orders.wsgi", "--bind", f"127.0.0.1:{port}"]
    given = {**os.environ, "DJANGO_SETTINGS_MODULE": "extracted.orders.settings"}
    process = subprocess.Popen(
        [*command, "--threads", "4", "--no-control-socket", "--log-level", "error"], cwd=ROOT, env=given
    )
    try:
        time.sleep(3)
        yield
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def run(*arguments: str) -> None:
    """Run a command of the project."""
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, check=True, timeout=120)


def execute(statement: str, *parameters: object) -> None:
    """Run a statement in the shop's database."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that something took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def line(what: str, ratio: float, aim: float) -> None:
    """Print one ratio next to what it should be."""
    verdict = "" if ratio >= aim else f"  under the aim of {aim}"
    print(f"  {what:66}{ratio:6.2f} (aim {aim}){verdict}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
