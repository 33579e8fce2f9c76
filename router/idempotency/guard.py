"""Run the work of a request once for its idempotency key."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError, connections, router, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from router.fences import NotOwner
from router.idempotency.claims import HEADER, Claim, Stored, claim, fingerprint_of
from router.idempotency.models import IdempotencyKey
from router.routes import Key
from router.service.dryrun import rehearsing
from router.whole import whole

logger = logging.getLogger("router")

CLAIM_ATTRIBUTE = "strangler_claim"
OWNER_ATTRIBUTE = "strangler_key_owner"
JSON = "application/json"
_LATER = frozenset({408, 425, 429, 503})
"""Statuses that say nothing about the request but that it may be sent again."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a request is answered: by the work just done, or by what was stored for its key."""

    status: int
    data: Any
    replayed: bool = False
    claim: Claim | None = None
    stored: Stored | None = None
    """The stored answer as it was given, which need not be JSON: then there is no data."""

    def amend(self, status: int, data: Any) -> "Outcome":
        """Return the outcome with a fresher answer, which retries of the same request will get from now on."""
        if self.claim is not None and not self.replayed:
            self.claim.amend(status=status, content_type=JSON, body=encode(data))
        return Outcome(status=status, data=data, replayed=self.replayed, claim=self.claim)


def run_once(request: HttpRequest, *, scope: str, subject: str, work: Callable[[], tuple[int, Any]]) -> Outcome:
    """Run ``work`` in a transaction, together with the completion of the request's idempotency key.

    ``work`` returns a status and JSON-able data, and changes this database only: what another process has to do comes
    after. A key seen before gives the stored answer, and ``work`` is not called. Without a key, ``work`` simply runs.
    A status that is no answer (500 and above, 408, 425, 429) rolls everything back, and the key is free again.
    Raises the errors of ``router.idempotency.errors``, and whatever ``work`` raises; the claim then stays on the
    request for ``settle``.
    """
    held = held_for(request, scope=scope, subject=subject)
    if isinstance(held, Stored):
        return Outcome(status=held.status, data=_data_of(held), replayed=True, stored=held)
    alias = router.db_for_write(IdempotencyKey)
    try:
        with transaction.atomic(using=alias):
            status, data = whole(work)
            if says_nothing(status):
                transaction.set_rollback(True, using=alias)
            elif held is not None:
                held.complete(status=status, content_type=JSON, body=encode(data))
    except NotOwner:
        give_back(held)
        raise
    if says_nothing(status):
        settle(request, HttpResponse(encode(data), status=status, content_type=JSON))
    return Outcome(status=status, data=data, claim=held)


def held_for(request: HttpRequest, *, scope: str, subject: str) -> Claim | Stored | None:
    """Claim the request's key unless the router has done so; None without a key, and in a dry-run.

    A claim is kept on the request.
    """
    if rehearsing():
        return None
    held: Claim | Stored | None = getattr(request, CLAIM_ATTRIBUTE, None)
    if held is None:
        key = request.headers.get(HEADER)
        if key is not None:
            held = claim(scope=scope, subject=subject, key=key, fingerprint=fingerprint_of(request))
    if not isinstance(held, Stored):
        setattr(request, CLAIM_ATTRIBUTE, held)
    if isinstance(held, Claim):
        held.owner = getattr(request, OWNER_ATTRIBUTE, held.owner)
    return held


def belongs_to(request: HttpRequest, owner: Key) -> None:
    """Say whose data the request changes, where that is not the client's own: with that its answer changes hands.

    ``owner`` is the partition key, such as the customer for whom a member of staff acts. The work itself may say so.
    """
    raw: HttpRequest = getattr(request, "_request", request)  # REST framework's requests wrap Django's
    setattr(raw, OWNER_ATTRIBUTE, owner)
    held: Claim | Stored | None = getattr(raw, CLAIM_ATTRIBUTE, None)
    if isinstance(held, Claim):
        held.owner = owner


def has_pending_claim(request: HttpRequest) -> bool:
    """Whether the request holds a claim that nothing has completed yet."""
    held: Claim | Stored | None = getattr(request, CLAIM_ATTRIBUTE, None)
    return isinstance(held, Claim) and held.pending


def give_back(held: Claim | None) -> None:
    """Let the same request be carried out elsewhere, or here again: a fence has refused it, so nothing was done."""
    if held is not None:
        held.give_back()


def abandon(held: Claim | Stored | None) -> None:
    """Give the key of a request that crashed back at once, so that its client need not wait for the lease to end.

    A key that was taken over stays: it is for the router to say the last word.
    """
    if isinstance(held, Claim) and not held.taken_over:
        give_back_after_crash(held)


def give_back_after_crash(held: Claim) -> None:
    """Give a key back, so that whoever knows it may ask again at once.

    Whatever was committed is found under the key all the same, also where nobody knows whether it was. Where the crash
    was the database's, it is reached again first, or else the lease ends by itself.
    """
    connection = connections[router.db_for_write(IdempotencyKey)]
    try:
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        held.give_back()
    except DatabaseError as error:
        logger.warning("The key %s stays in flight until its lease ends: %s", held.name.key, error)


def says_later(status: int) -> bool:
    """Whether a status says that the same request is to be sent again."""
    return status in _LATER


def says_nothing(status: int) -> bool:
    """Whether a status says nothing of the request: a server error, or one that asks to come back later."""
    return status >= 500 or says_later(status)


def asks_again(response: HttpResponseBase) -> bool:
    """Whether the same request is to be sent again: by its status, or as a refusal that says when."""
    return says_later(response.status_code) or (response.status_code >= 400 and response.has_header("Retry-After"))


def is_no_answer(response: HttpResponseBase) -> bool:
    """Whether a response says nothing of the request."""
    return says_nothing(response.status_code) or asks_again(response)


def settle(request: HttpRequest, response: HttpResponseBase, *, body: bytes | None = None) -> None:
    """Record the answer of a request whose work was refused, so that a late twin is refused in the same way.

    A server error, or what asks to come back later, is not an answer: the key is given back for another try. Only a
    client without a key of its own cannot try again under it, so if the other side may still be working on the request,
    this answer, too, has to be its last word. ``body`` is the JSON that a response not yet rendered is going to have.
    """
    if not has_pending_claim(request):
        return
    held: Claim = getattr(request, CLAIM_ATTRIBUTE)
    if is_no_answer(response) and (HEADER in request.headers or not held.taken_over):
        give_back_after_crash(held)
    else:
        kept = (
            kept_of(response) if body is None else {"status": response.status_code, "content_type": JSON, "body": body}
        )
        held.finish(**kept)


def kept_of(response: HttpResponseBase) -> dict[str, Any]:
    """Return what is kept of an answer; of one that streams only that it was given."""
    return {
        "status": response.status_code,
        "content_type": response.get("Content-Type", ""),
        "body": response.content if isinstance(response, HttpResponse) else b"",
        "location": response.get("Location"),
    }


def _data_of(stored: Stored) -> Any:
    try:
        return json.loads(stored.body)
    except ValueError:
        return None


def encode(data: Any) -> bytes:
    """Return ``data`` as compact UTF-8 JSON, the form in which answers are stored."""
    return json.dumps(data, cls=DjangoJSONEncoder, separators=(",", ":"), ensure_ascii=False).encode()
