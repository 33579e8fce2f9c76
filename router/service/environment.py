"""Read a deployment's settings from the environment, with errors that name the variable."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

SQLITE_OPTIONS: dict[str, Any] = {
    # A writer that starts DEFERRED and upgrades later fails at once instead of waiting its turn.
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
}


def database(variable: str, default: str, *, idle_seconds: int | None = None) -> dict[str, Any]:
    """Return the Django database settings for the URL in ``variable``, SQLite in WAL mode or PostgreSQL.

    PostgreSQL ends a transaction in which nothing happens for ``idle_seconds``: a process that froze in the middle of a
    write would hold its row locks, and whoever is to answer instead would wait for them for ever.
    """
    url = os.environ.get(variable) or default
    scheme = urlsplit(url).scheme
    if scheme not in {"sqlite", "postgres", "postgresql"}:
        raise ImproperlyConfigured(
            f"{variable}={url!r}: the scheme is {scheme!r}. Use sqlite:///path/to/file.sqlite3 "
            "or postgresql://user:password@host:5432/name."
        )
    config: dict[str, Any] = dict(dj_database_url.parse(url))
    if scheme == "sqlite":
        Path(config["NAME"]).parent.mkdir(parents=True, exist_ok=True)
        config["OPTIONS"] = dict(SQLITE_OPTIONS)
    else:
        config["CONN_MAX_AGE"] = 60
        config["CONN_HEALTH_CHECKS"] = True
        if idle_seconds is not None:
            options = config.setdefault("OPTIONS", {})
            setting = f"-c idle_in_transaction_session_timeout={idle_seconds}s"
            options["options"] = f"{options.get('options', '')} {setting}".strip()
    return config


def flag(variable: str, *, default: bool) -> bool:
    """Return the truth in ``variable``: 1/0, true/false, yes/no, on/off."""
    text = os.environ.get(variable, "").strip().lower()
    if not text:
        return default
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{variable}={text!r} is neither true nor false. Use 1 or 0.")


def choice(variable: str, *, default: str, allowed: tuple[str, ...]) -> str:
    """Return the value of ``variable``, which has to be one of ``allowed``."""
    text = os.environ.get(variable, "").strip() or default
    if text not in allowed:
        raise ImproperlyConfigured(f"{variable}={text!r} is not one of {', '.join(allowed)}.")
    return text
