"""What a statement over many rows hands to PostgreSQL: each column as one array, and a plan that goes by the keys.

A program that fills tables runs into the planner's statistics of a time when they were empty: it then reads all of a
table that has grown since, for every batch again. Statements of sync are written so that no estimate can mislead them:
rows are found one by one through a unique index (a lateral subquery that locks is never turned into another join).
"""

from collections.abc import Iterable
from typing import Any

from django.db import connections

BY_INDEX = """
    SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
        set_config('jit', 'off', true)
"""
"""What has no index is dear in the planner's eyes then, which is no reason to compile it."""


def plain(values: Iterable[Any]) -> str:
    """Return numbers, truths and UUIDs as the text of an array: a fraction of the driver's time for a list."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def quoted(values: Iterable[Any]) -> str:
    """Return texts and moments as the text of an array."""
    escaped = ["NULL" if value is None else f'"{_escaped(str(value))}"' for value in values]
    return "{" + ",".join(escaped) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def by_index(alias: str) -> None:
    """Have PostgreSQL go by indexes, in their order, to the end of this transaction; so do checks of foreign keys."""
    connection = connections[alias]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(BY_INDEX)
