"""One at a time: who does a piece of work holds a row until a date that it keeps moving."""

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic

from django.db import IntegrityError, transaction
from django.utils import timezone

from migrations_plan.sync.errors import Busy
from migrations_plan.sync.models import Lease

FRESH = 0.3
"""The share of a lease's time in which it need not be renewed: each renewal is a write."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """A lease that this program holds."""

    name: str
    holder: str
    alias: str
    seconds: float
    renewed: list[float] = field(default_factory=lambda: [monotonic()], repr=False)
    """When it was last written down, by this machine's clock."""

    def renew(self) -> None:
        """Hold it for another while; raise Busy if somebody else has taken it, because we were silent too long.

        Nobody takes it before it has run out, so it is written down again only after a good part of its time.
        """
        if monotonic() - self.renewed[-1] < self.seconds * FRESH:
            return
        rows = Lease.objects.using(self.alias).filter(name=self.name, holder=self.holder)
        if not rows.update(until=timezone.now() + timedelta(seconds=self.seconds)):
            raise Busy(f"{self.name} was taken over by another process.")
        self.renewed[:] = [monotonic()]

    def give_back(self) -> None:
        """Let the next one begin at once."""
        Lease.objects.using(self.alias).filter(name=self.name, holder=self.holder).delete()


@contextmanager
def held(alias: str, name: str, seconds: float) -> Iterator[Held]:
    """Hold a lease for the length of the block; raise Busy with the holder if somebody else has it."""
    lease = Held(
        name=name, holder=f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}", alias=alias, seconds=seconds
    )
    _take(lease)
    try:
        yield lease
    finally:
        lease.give_back()


def _take(lease: Held) -> None:
    rows, now = Lease.objects.using(lease.alias), timezone.now()
    if rows.filter(name=lease.name, until__gte=now).exists():
        raise _busy(lease)  # the usual case, found out without a write
    until = now + timedelta(seconds=lease.seconds)
    if rows.filter(name=lease.name, until__lt=now).update(holder=lease.holder, until=until):
        return
    try:
        with transaction.atomic(using=lease.alias):
            rows.create(name=lease.name, holder=lease.holder, until=until)
    except IntegrityError:
        raise _busy(lease) from None


def _busy(lease: Held) -> Busy:
    found = Lease.objects.using(lease.alias).filter(name=lease.name).first()
    who = f"{found.holder} until {found.until:%H:%M:%S} UTC" if found else "another process"
    return Busy(f"{lease.name} is being done by {who}.")
