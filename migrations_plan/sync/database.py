"""What sync needs of a database beyond the ORM: one snapshot, the lock of a bucket, triggers kept quiet."""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from migrations_plan.sync.errors import SyncError

APPLYING = "strangler.applying"
"""The setting of a PostgreSQL transaction that keeps the capture triggers quiet."""


@contextmanager
def snapshot(alias: str) -> Iterator[None]:
    """See one state of the database, committed by everybody else at one moment, for the length of the block.

    The block only reads. Inside a caller's transaction on SQLite that is so anyhow; on PostgreSQL it is refused, since
    the isolation of a transaction that has begun cannot be changed.
    """
    connection = connections[alias]
    if connection.vendor == "postgresql":
        in_test = _in_test(connection)
        with transaction.atomic(using=alias, durable=not in_test):
            if not in_test:
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
        return
    if connection.in_atomic_block:
        yield
        return
    with connection.cursor() as cursor:  # atomic() would begin IMMEDIATE and keep writers out
        cursor.execute("BEGIN DEFERRED")
        try:
            yield
        finally:
            cursor.execute("COMMIT")


def _in_test(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the transaction that is open is a test case's own: it has begun, and sees one state anyhow."""
    return bool(connection.atomic_blocks) and all(
        getattr(block, "_from_testcase", False) for block in connection.atomic_blocks
    )


def lock_shared(alias: str, aggregate: str, buckets: Iterable[int]) -> None:
    """Hold the locks of buckets together with everybody else who writes there, until the transaction ends.

    On SQLite a transaction that writes is alone, so there is nothing to hold.
    """
    _lock(alias, aggregate, buckets, "pg_advisory_xact_lock_shared")


def lock_exclusive(alias: str, aggregate: str, bucket: int, *, timeout_seconds: float) -> None:
    """Hold the lock of a bucket alone until the transaction ends; a lock timeout raises OperationalError."""
    connection = connections[alias]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{int(timeout_seconds * 1000)}ms"])
    _lock(alias, aggregate, [bucket], "pg_advisory_xact_lock")


def _lock(alias: str, aggregate: str, buckets: Iterable[int], function: str) -> None:
    connection = connections[alias]
    if not connection.in_atomic_block:
        raise SyncError("The lock of a bucket is held to the end of a transaction, and none is open.")
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:  # ascending, as everybody takes them
        wanted = sorted(set(buckets))
        cursor.execute(f"SELECT {function}(%s, b) FROM unnest(%s::int[]) b", [lock_space(aggregate), wanted])


def lock_space(aggregate: str) -> int:
    """Return the first of the two numbers of an aggregate's advisory locks; the second is the bucket."""
    digest = hashlib.sha256(f"strangler.lock:{aggregate}".encode()).digest()
    number: int = struct.unpack(">i", digest[:4])[0]
    return number


@contextmanager
def capture_suppressed(alias: str) -> Iterator[None]:
    """Keep the triggers from marking what this transaction writes: applying emits nothing back."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT set_config(%s, '1', true)", [APPLYING])
        else:
            cursor.execute("INSERT INTO strangler_sync_applying DEFAULT VALUES")
        try:
            yield
        finally:
            if not connection.needs_rollback:
                if connection.vendor == "postgresql":
                    cursor.execute("SELECT set_config(%s, '', true)", [APPLYING])
                else:
                    cursor.execute("DELETE FROM strangler_sync_applying")


def check_references_at_once(alias: str) -> None:
    """Have PostgreSQL check foreign keys with each statement of this transaction, and not when all is over.

    SQLite cannot be told to; ``references`` looks for itself there.
    """
    connection = connections[alias]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
