"""Whether a transaction is open: nothing is asked of another process then."""

from django.db import connections


def open_transaction() -> str | None:
    """Return the alias of a database in which this thread has a transaction open; a test case's own does not count."""
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block and not all(
            getattr(block, "_from_testcase", False) for block in connection.atomic_blocks
        ):
            return connection.alias
    return None
