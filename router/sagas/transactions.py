"""Whether the transaction is open that something has to be part of."""

from django.db import connections


def in_transaction(alias: str) -> bool:
    """Return whether a transaction is open in a database, a test case's own not counted."""
    connection = connections[alias]
    return connection.in_atomic_block and not all(
        getattr(block, "_from_testcase", False) for block in connection.atomic_blocks
    )
