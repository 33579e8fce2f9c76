"""Where tests keep their files, and which databases they run on: TEST_DATABASE names sqlite (default) or postgres."""

import os
import tempfile
from pathlib import Path
from typing import Any

from router.service import environment

KIND = environment.choice("TEST_DATABASE", default="sqlite", allowed=("sqlite", "postgres"))
MADE_SCRATCH = "SHOP_VAR" not in os.environ
if MADE_SCRATCH:
    os.environ["SHOP_VAR"] = tempfile.mkdtemp(prefix="strangler-tests-")
SCRATCH = Path(os.environ["SHOP_VAR"])

RUNNING_HERE = "postgresql://postgres@127.0.0.1:5432/postgres"


def url(name: str) -> str:
    """Return the address of a database before the tests give it another name."""
    if KIND == "postgres":
        return os.environ.get("TEST_POSTGRES_URL", RUNNING_HERE)
    return f"sqlite:///{SCRATCH / name}.sqlite3"


def made_for_tests(database: dict[str, Any], suffix: str = "") -> None:
    """Let tests make a database of their own in the place of this one; nothing in it has to survive a power cut."""
    database["CONN_MAX_AGE"] = 0
    if KIND == "postgres":
        database["TEST"] = {"NAME": f"test_strangler_{os.getpid()}{suffix}"}
        return
    # A file, not memory: threads and other processes have to see it.
    database["TEST"] = {"NAME": str(SCRATCH / f"test-{os.getpid()}{suffix}.sqlite3")}
    database["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA foreign_keys=ON;"
