"""A small shop in an SQLite file of its own, as its migrations make it."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from demo.site import ROOT

Manage = Callable[..., str]


def manage(path: Path, *arguments: str) -> str:
    """Run a management command of the shop on a database; return what it printed."""
    environment = {
        **os.environ,
        "SHOP_DATABASE_URL": f"sqlite:///{path}",
        "DJANGO_SETTINGS_MODULE": "legacy_shop.settings",
    }
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
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


def insert(db: sqlite3.Connection, table: str, **values: Any) -> int:
    """Insert a row and return its id."""
    names, marks = ", ".join(f'"{name}"' for name in values), ", ".join("?" for _ in values)
    cursor = db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))
    assert cursor.lastrowid is not None
    return cursor.lastrowid
