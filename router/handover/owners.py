"""Ask who owns a bucket at this moment, and wait for an owner where there is none."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from time import monotonic

from django.db import DatabaseError, close_old_connections

from router import poller, snapshot
from router.conf import conf
from router.decide import Decision
from router.handover.errors import MetFence, Unowned
from router.holders import Holder
from router.snapshot import OwnershipSource
from router.steps import Steps, in_database, pause
from router.transactions import open_transaction

logger = logging.getLogger("router")

A_MOMENT = 0.1
"""Seconds after which who has refused a write may be asked again."""


def owner_now(service: str, bucket: int) -> Holder:
    """Return who owns a bucket, by the database; a snapshot that is overridden with is asked in its place."""
    overriding = snapshot.innermost_override()
    if overriding is not None and service in overriding.ownership:
        return overriding.ownership[service].holder(bucket)
    source = poller.source()
    if isinstance(source, OwnershipSource):
        return source.owner_now(service, bucket)
    known = snapshot.current().ownership.get(service)
    return "legacy" if known is None else known.holder(bucket)


def owner_if_known(service: str, bucket: int) -> Holder | None:
    """Return who owns a bucket, by the database; None where that cannot be read, over a fresh connection neither."""
    for _ in range(2):
        try:
            return owner_now(service, bucket)
        except DatabaseError as error:
            logger.warning("who owns bucket %s of %s cannot be read: %s", bucket, service, error)
            close_old_connections()
    return None


def owner_or_none(service: str, bucket: int) -> Holder:
    """Return who owns a bucket, by the database; nobody, as far as a write can tell, where that cannot be read."""
    return owner_if_known(service, bucket) or "none"


def refuse_if_moved(decision: Decision, why: Exception) -> None:
    """Raise MetFence if the service, which was never sent the write, does not own the data any more.

    The snapshot is up to a second old, and a service that has nothing to write any more may be gone by then.
    """
    if decision.bucket is None:
        return
    try:
        owner = owner_now(decision.service, decision.bucket)
    except DatabaseError as error:
        logger.warning("who owns bucket %s of %s cannot be read: %s", decision.bucket, decision.service, error)
        return
    if owner != "extracted":
        raise MetFence(decision.service, bucket=decision.bucket) from why


class Wait:
    """The time that one write has for finding its owner; it begins when it is first needed."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.held = False
        """Whether it had to wait the last time."""
        self._deadline: float | None = None

    def for_owner(self, bucket: int, *, refused_by: Holder | None, at_least: float) -> Steps[Holder]:
        """Return who owns the bucket, after some seconds at least; raise Unowned if nobody does in time.

        Who has just refused may be asked again only after a moment: that the database still names it proves nothing
        while the other side of the change is on its way.
        """
        if self._deadline is None:
            self._deadline = monotonic() + conf().hold.seconds
        earliest = monotonic() + at_least
        again = earliest + A_MOMENT
        look = partial(owner_or_none, self.service, bucket)
        self.held = False
        owner: Holder = yield from in_database(look)
        if not at_least and owner not in ("none", refused_by):
            return owner
        if open_transaction() is not None:
            raise Unowned("in_transaction")
        with _slots.taken():
            self.held = True
            while monotonic() < self._deadline:
                yield from pause(conf().hold.poll_seconds)
                owner = yield from in_database(look)
                if owner != "none" and monotonic() >= (again if owner == refused_by else earliest):
                    return owner
        raise Unowned("changing_hands")


class _Slots:
    """How many requests of this process are waiting now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.in_use = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take one for the length of the block; raise Unowned if there is none left."""
        with self._lock:
            if self.in_use >= conf().hold.most:
                raise Unowned("too_many")
            self.in_use += 1
        try:
            yield
        finally:
            with self._lock:
                self.in_use -= 1


_slots = _Slots()


def slot_taken() -> AbstractContextManager[None]:
    """Be one of those who wait, for the length of the block; raise Unowned if there are too many."""
    return _slots.taken()


def waiting() -> int:
    """Return how many writes of this process wait for an owner."""
    return _slots.in_use


def _after_fork() -> None:
    global _slots
    _slots = _Slots()


os.register_at_fork(after_in_child=_after_fork)
