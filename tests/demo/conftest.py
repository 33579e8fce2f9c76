"""A small shop in an SQLite file of its own, as its migrations make it; a second home of its orders."""

import ast
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.homes import Home, SqliteHome
from demo.site import ROOT
from tests.processes import UNTRACED

Manage = Callable[..., str]


def manage(path: Path, *arguments: str) -> str:
    """Run a management command of the shop on a database; return what it printed."""
    settings = {"SHOP_DATABASE_URL": f"sqlite:///{path}", "DJANGO_SETTINGS_MODULE": "legacy_shop.settings"}
    return run((sys.executable, str(ROOT / "manage.py"), *arguments), settings)


def serve(url: str, *arguments: str, **settings: str) -> str:
    """Run a management command of the orders service on a store of its own; return what it printed."""
    own = {"ORDERS_STORE": "own", "ORDERS_OWN_DATABASE_URL": url, **settings}
    return run((sys.executable, "-m", "extracted.orders", *arguments), own)


def run(command: tuple[str, ...], settings: Mapping[str, str]) -> str:
    """Run a command to its end; return what it printed."""
    environment = {**os.environ, **UNTRACED, **settings}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def small_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop of four products, five customers and six orders; copy it before you change it."""
    path = tmp_path_factory.mktemp("shop") / "shop.sqlite3"
    manage(path, "migrate", "--verbosity", "0")
    manage(path, "seed_shop", "--products", "4", "--customers", "5", "--orders", "6", "--verbosity", "0")
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the file alone is all there is
    return path


SEND = """
from migrations_plan.sync import operate
from migrations_plan.sync.local import LocalSide
from migrations_plan.sync.wire import forms
operate.install("orders")
operate.start_backfill("orders")
operate.run_backfill("orders", lambda done: None, lambda seconds: None)
documents = LocalSide().changes("orders", 500).documents
print(forms.encode_documents([forms.encode(document) for document in documents]).decode())
"""
APPLY = """
import os
from migrations_plan.sync.local import LocalSide
from migrations_plan.sync.wire import forms
print([one.outcome.value for one in LocalSide().apply("orders", forms.decode(
    open(os.environ["SENT"], "rb").read(), forms.ApplyRequest).documents)])
"""


def fill(shop: Path, url: str, folder: Path) -> None:
    """Send all orders of a shop to a store of the service's own, as sync does, without a network."""
    sent = folder / "sent.json"
    sent.write_text(manage(shop, "shell", "--verbosity", "0", "-c", SEND))
    serve(url, "migrate", "--verbosity", "0")
    said = serve(url, "shell", "--verbosity", "0", "-c", APPLY, SENT=str(sent))
    assert set(ast.literal_eval(said)) == {"applied"}


def insert(db: sqlite3.Connection, table: str, **values: Any) -> int:
    """Insert a row and return its id."""
    names, marks = ", ".join(f'"{name}"' for name in values), ", ".join("?" for _ in values)
    cursor = db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def enrich(path: Path) -> int:
    """Give an order of a shop what seeded ones have not: payments, a name in one piece, no address; return its id."""
    moments = {"created_at": "2026-01-02 03:04:05", "settled_at": "2026-01-02 03:04:06.789"}
    with closing(sqlite3.connect(path)) as db, db:
        (order_id,) = db.execute("SELECT MIN(id) FROM orders_order").fetchone()
        db.execute("UPDATE orders_order SET ship_name = 'Prince', shipping_address_id = NULL WHERE id = ?", (order_id,))
        for number, (kind, told) in enumerate((("charge", "2026-01-02 03:04:07"), ("refund", None))):
            payment = {"order_id": order_id, "kind": kind, "state": "succeeded", "amount": 12.5, "currency": "USD"}
            texts = {"card": "c", "provider_key": f"{number:032x}", "provider_reference": "", "failure": ""}
            insert(db, "payments_paymentattempt", **payment, **texts, **moments, told_at=told)
    return int(order_id)


@dataclass(frozen=True)
class Pair:
    """Two homes of the same orders."""

    shop: SqliteHome
    own: Home
    rich: int
    """The order that has everything."""


@pytest.fixture(scope="session")
def filled(small_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a shop and a store of the service's own that holds the same orders; copy it before a change."""
    folder = tmp_path_factory.mktemp("homes")
    shop, own = folder / "shop.sqlite3", folder / "orders.sqlite3"
    shutil.copy(small_shop, shop)
    enrich(shop)
    fill(shop, f"sqlite:///{own}", folder)
    for path in (shop, own):
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder


@pytest.fixture
def pair(filled: Path, tmp_path: Path) -> Pair:
    """Two homes that a test may change."""
    for name in ("shop.sqlite3", "orders.sqlite3"):
        shutil.copy(filled / name, tmp_path)
    return pair_of(tmp_path / "shop.sqlite3", SqliteHome(tmp_path / "orders.sqlite3"))


def pair_of(shop: Path, own: Home) -> Pair:
    """Return two homes of which the shop is a file."""
    with closing(sqlite3.connect(shop)) as db:
        (rich,) = db.execute("SELECT id FROM orders_order WHERE ship_name = 'Prince'").fetchone()
    return Pair(shop=SqliteHome(shop), own=own, rich=int(rich))
