"""What a write raises that this side may not make, whatever the database calls it, and a record that it did.

The fence is a trigger on each synced table. PostgreSQL reports it with a state of its own, SQLite as a broken
constraint, which code that expects a duplicate would catch. So every connection translates it to ``NotOwner``, which
is no IntegrityError, and tells whoever ``watched`` that it happened.
"""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

logger = logging.getLogger("strangler.fence")

SQLSTATE = "SF001"
"""Of the error that the fence raises on PostgreSQL; its class belongs to no standard."""
PREFIX = "strangler fence: "
"""How the message of every fence begins, on all databases."""
_MESSAGE = re.compile(re.escape(PREFIX) + r"(?P<aggregate>\S+) (?P<bucket>\d+|\?) (?P<state>[a-z]+): (?P<told>[^\n]*)")

HeldAs = Literal["frozen", "replica", "nobody"]


class NotOwner(DatabaseError):
    """This side may not write that row now: the other side owns it, or ownership is changing hands.

    Nothing of the statement was done. On SQLite the database does not tell which bucket it was; then it is None.
    """

    def __init__(self, message: str, *, aggregate: str, bucket: int | None = None, state: str = "replica") -> None:
        super().__init__(message)
        self.aggregate = aggregate
        self.bucket = bucket
        self.state = state
        """What this side is to the bucket: ``replica``, ``frozen``, or ``nobody`` where it was never written down."""


def message(aggregate: str, bucket: str, state: HeldAs, told: str) -> str:
    """Return the message of a fence, as ``translated`` reads it again."""
    return f"{PREFIX}{aggregate} {bucket} {state}: {told}"


def translated(error: BaseException) -> NotOwner | None:
    """Return what a database error is if a fence raised it, else None."""
    if isinstance(error, NotOwner):
        return error
    if not isinstance(error, DatabaseError):
        return None
    found = _MESSAGE.search(str(error))
    if found is None:
        return None
    bucket = found["bucket"]
    return NotOwner(
        found["told"].strip(),
        aggregate=found["aggregate"],
        bucket=int(bucket) if bucket.isdecimal() else None,
        state=found["state"],
    )


_watching: ContextVar[list[NotOwner] | None] = ContextVar("strangler_fences_met", default=None)


@contextmanager
def watched() -> Iterator[list[NotOwner]]:
    """Collect the fences that the block meets, also those whose errors it catches."""
    met: list[NotOwner] = []
    outer = _watching.get()
    token = _watching.set(met)
    try:
        yield met
    finally:
        _watching.reset(token)
        if outer is not None:
            outer.extend(met)


@contextmanager
def unwatched() -> Iterator[None]:
    """Let nobody hear of the fences that the block meets: what was asked for is committed, and refused no more."""
    token = _watching.set(None)
    try:
        yield
    finally:
        _watching.reset(token)


def install() -> None:
    """Have every connection of this process, those that are open included, translate what fences raise."""
    connection_created.connect(_on_connection, dispatch_uid="strangler.fences")
    for connection in connections.all(initialized_only=True):
        _on_connection(connection)


def _on_connection(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if _translating not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _translating)


def _translating(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    try:
        return execute(sql, params, many, context)
    except DatabaseError as error:
        met = translated(error)
        if met is None or met is error:
            raise
        connection: BaseDatabaseWrapper = context["connection"]
        if connection.in_atomic_block:
            # SQLite would let the rest of the transaction be committed; PostgreSQL would not, and neither do we.
            connection.needs_rollback = True
        watching = _watching.get()
        if watching is not None:
            watching.append(met)
        logger.warning("a write was refused: %s", met)
        raise met from error
