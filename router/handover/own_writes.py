"""Let a client read what it has written, also where a copy that follows answers it.

What the service has written reaches legacy's copy a moment later. The client carries the versions of its latest writes,
signed, in a cookie (or, without cookies, in a header that it gives back), and a read that legacy answers from its copy
waits until that has them. The guarantee is read-your-writes of Terry et al., "Session guarantees for weakly consistent
replicated data", PDIS 1994; the token is the vector of versions of their section 5.

Code that answers a request may write and read through seams as well: what it writes goes to the client with the answer,
and what it reads from the copy waits for that, too.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Protocol, runtime_checkable

from django.conf import settings
from django.core import signing
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponseBase

from router import poller
from router.conf import conf
from router.exchange import Exchange
from router.handover.errors import Unowned
from router.handover.owners import slot_taken
from router.service import versions
from router.service.headers import WROTE_HEADER
from router.service.versions import Versions, Written
from router.steps import Steps, carry_out, in_database, no_legacy, pause
from router.transactions import open_transaction

logger = logging.getLogger("router")

COOKIE = "strangler_wrote"
SALT = "router.own_writes"


@runtime_checkable
class AppliedSource(Protocol):
    """What a snapshot source offers besides, once data can move: which versions have arrived in legacy's copy."""

    def arrived(self, written: Versions) -> bool:
        """Return whether all of these versions, or later ones, are here. Called by a request, so it is a short read."""


@dataclass(kw_only=True)
class Carried:
    """What the client of the request being answered has written, before and by this request."""

    request: HttpRequest
    fresh: dict[Written, int] = field(default_factory=dict)
    """Written by this request, the latest last."""
    stale: bool = False
    """Whether the answer has, or code of the request has read through a seam, what may be old."""

    @property
    def known(self) -> Versions:
        """Return all that is known to be written, the latest last."""
        return {one: gen for one, gen in told(self.request).items() if one not in self.fresh} | self.fresh


_carried: ContextVar[Carried | None] = ContextVar("strangler_carried", default=None)


@contextmanager
def carrying(request: HttpRequest) -> Iterator[Carried]:
    """Note what is written while the block answers the request."""
    token = _carried.set(Carried(request=request))
    try:
        yield _carried.get()  # type: ignore[misc]
    finally:
        _carried.reset(token)


def note(header: str | None) -> None:
    """Note which versions a service says it has written; outside of a request nobody would be told."""
    carried = _carried.get()
    if carried is not None and header:
        for one, gen in versions.read(header).items():
            carried.fresh.pop(one, None)
            carried.fresh[one] = gen


def remember(carried: Carried, response: HttpResponseBase) -> None:
    """Give the client what the request has written, with what it had written before, if there is anything new."""
    if not carried.fresh:
        return
    latest = dict(list(carried.known.items())[-versions.MOST :])
    token = signing.dumps([[*one, gen] for one, gen in latest.items()], salt=SALT, compress=True)
    response.headers[WROTE_HEADER] = token
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(conf().own_writes_seconds) or 1,
        path=settings.SESSION_COOKIE_PATH,
        domain=settings.SESSION_COOKIE_DOMAIN,
        secure=bool(settings.SESSION_COOKIE_SECURE),
        httponly=True,
        samesite="Lax",
    )


def told(request: HttpRequest) -> Versions:
    """Return what the client has written lately, by its own account; what we did not sign, or long ago, is nothing."""
    found: dict[tuple[str, str], int] = {}
    for token in (request.COOKIES.get(COOKIE), request.headers.get(WROTE_HEADER)):
        if not token:
            continue
        try:
            rows = signing.loads(token, salt=SALT, max_age=timedelta(seconds=conf().own_writes_seconds))
        except signing.BadSignature:
            continue
        for name, key, gen in rows:
            found[name, key] = max(gen, found.get((name, key), 0))
    return found


def caught_up(exchange: Exchange) -> Steps[None]:
    """Wait, as long as a write is held for, until legacy's copy has what the client wrote.

    Where that takes too long, too many wait, or the database cannot be asked, the answer is what it would be anyway:
    one that says that it may be stale.
    """
    if not (yield from _awaited(told(exchange.request), exchange.request.path)):
        exchange.note = "behind-own-writes"


def catch_up(label: str) -> None:
    """Wait in the same way before code of a request reads from the copy; its answer says that it may be stale."""
    carried = _carried.get()
    if carried is not None:
        carried.stale = True
        carry_out(_awaited(carried.known, label), no_legacy)


def may_be_stale() -> None:
    """Have the answer to the request say that it may be stale."""
    carried = _carried.get()
    if carried is not None:
        carried.stale = True


def _awaited(written: Versions, what: str) -> Steps[bool]:
    """Wait until these versions have arrived, and return whether they have."""
    here = partial(_arrived, written)
    if not written or (yield from in_database(here)):
        return True
    if open_transaction() is not None:
        return False
    until = monotonic() + conf().hold.seconds
    try:
        with slot_taken():
            while monotonic() < until:
                yield from pause(conf().hold.poll_seconds)
                if (yield from in_database(here)):
                    return True
    except Unowned as busy:
        logger.warning("%s is not held until its own writes have arrived: %s", what, busy)
    return False


def _arrived(written: Versions) -> bool:
    """Return whether the copy has these versions; True where nobody can tell, since waiting would not help."""
    source = poller.source()
    if not isinstance(source, AppliedSource):
        return True
    try:
        return source.arrived(written)
    except DatabaseError as error:
        logger.warning("what has arrived in legacy's copy cannot be read: %s", error)
        return True
