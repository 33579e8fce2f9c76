"""Let SQLite leave writing to the operating system: processes die in a run, the machine does not."""

from typing import Any


def without_waiting_for_the_disk(database: dict[str, Any]) -> None:
    """Change the settings of a database so; PostgreSQL's own are changed where it is made."""
    options = database.get("OPTIONS", {})
    if "init_command" in options:
        options["init_command"] = options["init_command"].replace("synchronous=FULL", "synchronous=OFF")
