"""Claim an idempotency key before the work, complete it in the transaction of the work.

The order of things is what makes a request take effect once, whoever carries it out:

* a key is *claimed* by a unique insert that is committed before the work begins;
* the work and the key's completion are one transaction, and completing needs the very token of the claim;
* whoever takes a claim over replaces that token by compare-and-swap. A late writer then completes nothing, so its
  transaction rolls back. If it was completing at that moment, the take-over waits for it and finds the answer instead;
* an answer that came here together with the data (``travelling``) counts as ours.

Looking a key up before the work instead of claiming it lets two requests pass at once.
"""

import hashlib
import logging
import string
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from django.db import DatabaseError, IntegrityError, connections, router, transaction
from django.http import HttpRequest
from django.utils import timezone

from router.fences import NotOwner, unwatched
from router.idempotency import travelling
from router.idempotency.conf import conf
from router.idempotency.errors import ClaimInTransaction, ClaimLost, KeyInFlight, KeyMalformed, KeyReused
from router.idempotency.models import IdempotencyKey, TravellingKey
from router.idempotency.travelling import Name
from router.routes import Key

logger = logging.getLogger("router")

HEADER = "Idempotency-Key"
MAX_KEY_LENGTH = 255
ROUNDS = 5
"""How often a claim is tried again after somebody else changed the row in between."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What a request with this key was answered before."""

    status: int
    content_type: str
    body: bytes
    location: str | None = None
    """Where a redirect leads; None for other answers."""

    @property
    def headers(self) -> dict[str, str]:
        """Return the header fields of the answer when it is given again."""
        where = {} if self.location is None else {"Location": self.location}
        return {"Idempotency-Replayed": "true", **where}


@dataclass(kw_only=True)
class Claim:
    """The right to carry out one request, held until it is completed, released or taken over."""

    pk: int
    name: Name
    token: uuid.UUID
    taken_over: bool
    """Whether another side may still be working on the same request."""
    owner: Key | None = None
    """The partition key of the data that the request changes, where that is not the client's own."""
    pending: bool = field(default=True)
    lost: bool = field(default=False)
    """Whether somebody else had taken it over by the time it was to be completed."""

    def complete(self, *, status: int, content_type: str, body: bytes, location: str | None = None) -> None:
        """Record the answer in the caller's transaction; raise ClaimLost, to roll it back, if we no longer may.

        Raises NotOwner where the data has changed hands; then the claim is still ours, to be given back.
        """
        done = self._update(status=status, content_type=content_type, body=body, location=location)
        self.pending = False
        if not done:
            raise ClaimLost

    def finish(self, *, status: int, content_type: str, body: bytes, location: str | None = None) -> bool:
        """Record an answer whose work is over and committed, or changed nothing; return whether it is the last word.

        Where the data has changed hands it is not, and the claim is given back: the new owner has to say.
        """
        try:
            with transaction.atomic(using=_alias()):
                return self._update(status=status, content_type=content_type, body=body, location=location)
        except NotOwner:
            self.give_back()
            return False
        finally:
            self.pending = False

    def amend(self, *, status: int, content_type: str, body: bytes) -> None:
        """Replace the recorded answer by a fresher one, for those who ask again; it stays if the data has moved.

        The fence that says so refuses nothing of the request, whose work is done: nobody is to try it elsewhere.
        """
        answer = {"status": status, "content_type": content_type, "body": body}
        try:
            with unwatched(), transaction.atomic(using=_alias()):
                done = _rows().filter(pk=self.pk, token=self.token, state=IdempotencyKey.State.DONE).update(**answer)
                if done:
                    travelling.amend(self.name, **answer)
        except NotOwner:
            logger.info("%s: the data has moved, and its first answer with it", self.name.key)

    def give_back(self) -> None:
        """Let the same request be carried out elsewhere, or here again: a fence has refused it, so nothing was done."""
        (self.lapse if self.taken_over else self.release)()

    def lapse(self) -> None:
        """End the lease at once, so that whoever asks again may go on with it."""
        self.pending = False
        _rows().filter(pk=self.pk, token=self.token, state=IdempotencyKey.State.CLAIMED).update(
            lease_until=timezone.now()
        )

    def release(self) -> None:
        """Give the key back unused, so that the same request may be tried again at once."""
        self.pending = False
        _rows().filter(pk=self.pk, token=self.token, state=IdempotencyKey.State.CLAIMED).delete()

    def _update(self, **answer: Any) -> bool:
        mine, now = _rows().filter(pk=self.pk, token=self.token, state=IdempotencyKey.State.CLAIMED), timezone.now()
        self.lost = not mine.update(state=IdempotencyKey.State.DONE, completed_at=now, **answer)
        if not self.lost:
            try:
                travelling.keep(self.name, self.owner, now, **answer)
            except IntegrityError:  # an answer has come from the other side since the claim: it counts
                self.lost = True
        return not self.lost


def claim(*, scope: str, subject: str, key: str, fingerprint: str) -> Claim | Stored:
    """Claim a key, or return what it was answered before; raise KeyInFlight while somebody works on it."""
    return _acquire(scope, subject, key, fingerprint, seize=False)


def seize(*, scope: str, subject: str, key: str, fingerprint: str | None) -> Claim | Stored:
    """Take a key from the other side, which was sent the request and gave no answer; it can then no longer commit.

    A claim that this side itself holds is not taken: it is somebody else's retry in good health (KeyInFlight). Without
    a fingerprint the key is taken whatever it was used for.
    """
    return _acquire(scope, subject, key, fingerprint, seize=True)


def fingerprint_of(request: HttpRequest) -> str:
    """Return the fingerprint of a Django request."""
    scope: Any = getattr(request, "scope", None)
    # WSGI servers hand over text that stands for bytes, ASGI servers the bytes themselves.
    given = None if scope is None else scope.get("query_string")
    query = request.META.get("QUERY_STRING", "").encode("latin-1", "xmlcharrefreplace") if given is None else given
    return fingerprint(request.method or "", request.path_info, query, request.body)


def fingerprint(method: str, path: str, query: str | bytes, body: bytes) -> str:
    """Return the SHA-256 of what a request asks for: method, decoded path, query and body.

    The same on both sides, wherever each is mounted and whether or not the query was quoted on its way.
    """
    digest = hashlib.sha256(f"{method} {quote(path)}?{quote(query, safe=string.punctuation)}\n".encode())
    digest.update(body)
    return digest.hexdigest()


def checked_key(key: str) -> str:
    """Return the key if it is well formed; raise KeyMalformed with what is wrong otherwise."""
    if not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise KeyMalformed(f"The Idempotency-Key has {len(key)} characters; it needs 1 to {MAX_KEY_LENGTH}.")
    if not all("!" <= character <= "~" for character in key):
        raise KeyMalformed(f"The Idempotency-Key {key!r} has characters other than visible ASCII.")
    return key


def _acquire(scope: str, subject: str, key: str, fingerprint: str | None, *, seize: bool) -> Claim | Stored:
    checked_key(key)
    _refuse_inside_transaction(_alias())
    holder = conf().holder
    identity = {"scope": scope, "subject": subject, "key": key}
    answered = travelling.find(**identity)
    if answered is not None:
        return _stored(answered, fingerprint)
    for _ in range(ROUNDS):
        fresh = _insert(Name(**identity, fingerprint=fingerprint or ""), holder, taken_over=seize)
        if fresh is not None:
            return fresh
        row = _rows().filter(**identity).first()
        if row is None:
            continue  # released in between
        if row.state == IdempotencyKey.State.DONE:
            return _stored(row, fingerprint)
        if fingerprint is not None and row.fingerprint != fingerprint:
            raise KeyReused
        if row.lease_until > timezone.now() and not (seize and row.holder != holder):
            raise KeyInFlight
        taken = _swap(row, holder)
        if taken is not None:
            return taken
    raise KeyInFlight


def _stored(row: IdempotencyKey | TravellingKey, fingerprint: str | None) -> Stored:
    """Return an answer, if it is one to the same request."""
    if fingerprint is not None and row.fingerprint != fingerprint:
        raise KeyReused
    body = bytes(row.body or b"")
    return Stored(status=row.status or 200, content_type=row.content_type, body=body, location=row.location)


def _refuse_inside_transaction(alias: str) -> None:
    """Raise ClaimInTransaction where others could not see the claim before the work; a test case's own is no matter."""
    connection = connections[alias]
    if connection.in_atomic_block and not all(
        getattr(block, "_from_testcase", False) for block in connection.atomic_blocks
    ):
        raise ClaimInTransaction(
            f"A transaction is open in the database {alias!r}, so no idempotency key can be claimed before the work. "
            "Decorate the view with router.idempotency.views.once, or take it out of ATOMIC_REQUESTS with "
            "transaction.non_atomic_requests."
        )


def _insert(name: Name, holder: str, *, taken_over: bool) -> Claim | None:
    token, now = uuid.uuid4(), timezone.now()
    try:
        with transaction.atomic(using=_alias(), durable=True):  # others have to see it before the work begins
            row = _rows().create(
                **name.identity,
                fingerprint=name.fingerprint,
                holder=holder,
                token=token,
                created_at=now,
                lease_until=_lease(now),
            )
    except IntegrityError:
        return None
    return Claim(pk=row.pk, name=name, token=token, taken_over=taken_over)


def _swap(row: IdempotencyKey, holder: str) -> Claim | None:
    token = uuid.uuid4()
    with _bounded_lock_wait():
        won = (
            _rows()
            .filter(pk=row.pk, token=row.token, state=IdempotencyKey.State.CLAIMED)
            .update(token=token, holder=holder, lease_until=_lease(timezone.now()))
        )
    name = Name(scope=row.scope, subject=row.subject, key=row.key, fingerprint=row.fingerprint)
    return Claim(pk=row.pk, name=name, token=token, taken_over=True) if won else None


@contextmanager
def _bounded_lock_wait() -> Iterator[None]:
    """Run in a transaction that waits for row locks for a bounded time; a lock not had in time is KeyInFlight."""
    alias = _alias()
    try:
        with transaction.atomic(using=alias):
            if connections[alias].vendor == "postgresql":
                with connections[alias].cursor() as cursor:
                    cursor.execute(
                        "SELECT set_config('lock_timeout', %s, true)", [f"{int(conf().lock_timeout_seconds * 1000)}ms"]
                    )
            yield
    except DatabaseError as error:
        raise KeyInFlight from error


def _lease(now: Any) -> Any:
    return now + timedelta(seconds=conf().lease_seconds)


def _alias() -> str:
    return router.db_for_write(IdempotencyKey)


def _rows() -> Any:
    return IdempotencyKey.objects.using(_alias())
