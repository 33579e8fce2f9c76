"""Write through a seam: once, whichever side does it and whatever fails on the way.

The rules are those of a diverted request (``router.diversion``). What was certainly not sent is done by legacy. What
was sent and not answered may or may not have taken effect; its idempotency key is taken from the service before legacy
does it, so that a late service cannot commit, and an answer that it did commit is found with the key.
"""

import logging
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.db import DatabaseError, router, transaction

from router import snapshot
from router.decide import Decision, Facts, bucket_for, decide_for
from router.diversion import NOT_SENT, code_of
from router.fences import NotOwner
from router.handover import own_writes
from router.handover.carry import carried_out
from router.handover.errors import MetFence, Unowned
from router.handover.owners import refuse_if_moved
from router.holders import Holder
from router.idempotency.claims import Claim, Stored, checked_key, claim, seize
from router.idempotency.errors import ClaimLost
from router.idempotency.guard import JSON, encode, give_back, give_back_after_crash, says_later, says_nothing
from router.idempotency.models import IdempotencyKey
from router.identity import Identity
from router.metrics import Outcome
from router.routes import Route
from router.seam.client import Client, Sent
from router.seam.errors import SeamInTransaction, SeamMisused, Unavailable
from router.seam.transports import Captured, capturing, live, replaying
from router.service.headers import WROTE_HEADER
from router.steps import Steps, carry_out, in_database, no_legacy
from router.transactions import open_transaction
from router.whole import whole

if TYPE_CHECKING:
    from router.seam.operations import WriteSeam

logger = logging.getLogger("router")

R = TypeVar("R")


def run(operation: "WriteSeam[..., R]", key: str | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> R:
    """Carry out a write; ``key`` is the caller's own idempotency key, if it has one."""
    if key is not None:
        checked_key(key)
    alias = open_transaction()
    if alias is not None:
        raise SeamInTransaction(
            f"{operation.label} was called inside a transaction of the database {alias!r}, which would stay open while "
            "the service works. Call it before the transaction or after it (transaction.on_commit); a view under "
            "ATOMIC_REQUESTS needs transaction.non_atomic_requests."
        )
    decision = operation.decide(snapshot.current(), args, kwargs)
    call = _Call(operation=operation, args=args, kwargs=kwargs, decision=decision, given=key, started=monotonic())
    try:
        return carry_out(carried_out(call), no_legacy)
    except Unowned as nobody:
        raise call.unavailable(str(nobody), key or call.minted or uuid.uuid4().hex) from nobody


@dataclass(kw_only=True)
class _Call(Generic[R]):
    """One call of an operation."""

    operation: "WriteSeam[..., R]"
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    decision: Decision
    given: str | None
    started: float
    minted: str | None = None
    """The key of a call that was given none, once it has been sent: whoever is asked next is asked under the same."""
    in_doubt: bool = False
    """Whether it may have reached a service that gave no answer; then nobody does it but under its key."""

    # --- as the loop over its owners sees it ------------------------------------------------------------------
    @property
    def route(self) -> Route:
        return self.operation.route

    def attempt(self) -> Steps[R]:
        return (yield from in_database(self._tried))

    def _tried(self) -> R:
        if self.decision.side != "legacy":
            return self.by_service()
        key = self.given or self.minted
        if key is not None and self.in_doubt:
            return self._taken_over(key, self._fingerprint(), Outcome.FALLBACK_CLAIMED)
        return self.by_legacy(Outcome.OK) if key is None else self.by_legacy_once(key)

    def find_bucket(self) -> Steps[int | None]:
        return (yield from in_database(lambda: bucket_for(self.facts)))

    def hand_to(self, owner: Holder) -> None:
        self.decision = decide_for(owner, self.facts, snapshot.current())

    def cannot_be_tried_again(self) -> None:
        """Say that it can: the legacy implementation changes this database only, in the seam's own transaction."""

    @property
    def facts(self) -> Facts:
        return self.operation.facts(self.args, self.kwargs)

    @cached_property
    def identity(self) -> Identity:
        return self.operation.identity(self.args, self.kwargs)

    @property
    def claimable(self) -> dict[str, str]:
        """Name whose key it is, as the service does."""
        return {"scope": self.operation.route.service, "subject": self.identity.subject or ""}

    # --- the service ------------------------------------------------------------------------------------------
    def by_service(self) -> R:
        """Ask the service; let legacy do it where that is safe."""
        if self.operation.remote_function is None:
            raise self.operation.unfinished()
        self.minted = self.minted or uuid.uuid4().hex
        key = self.given or self.minted
        decision, alone = self.decision, self.decision.owner == "extracted"
        client = self._client(live(decision.service, decision.store, self.identity, key, patient=alone))
        try:
            result = self.operation.ask(client, self.args, self.kwargs)
        except Exception:
            if client.failure is None or client.sent is None:
                self._record("extracted", _outcome(client, crashed=True))
                raise
        finally:
            if client.answered is not None:
                own_writes.note(client.answered.header(WROTE_HEADER))
        if client.failure is None or client.sent is None:
            self._record("extracted", _outcome(client, crashed=False))
            return result
        return self._unanswered(client.failure, client.sent, key)

    def _unanswered(self, why: Exception, sent: Sent, key: str) -> R:
        if isinstance(why, MetFence):
            raise why
        if self.decision.owner == "extracted":
            self._warn(why)
            if isinstance(why, NOT_SENT):
                refuse_if_moved(self.decision, why)
            raise self.unavailable("the service that owns the data did not answer, and legacy may not write it", key)
        self._warn(why)
        self.in_doubt = self.in_doubt or not isinstance(why, NOT_SENT)
        if self.given is None and not self.in_doubt:
            return self.by_legacy(Outcome.FALLBACK_NOT_SENT)
        outcome = Outcome.FALLBACK_NOT_SENT if isinstance(why, NOT_SENT) else Outcome.FALLBACK_CLAIMED
        return self._taken_over(key, sent.fingerprint, outcome)

    def _taken_over(self, key: str, fingerprint: str, outcome: Outcome) -> R:
        """Take the key from the service, then let legacy do it under that."""
        held = self._seized(key, fingerprint)
        return self._replayed(held, key) if isinstance(held, Stored) else self._under(held, key, fingerprint, outcome)

    def _seized(self, key: str, fingerprint: str) -> Claim | Stored:
        try:
            return seize(**self.claimable, key=key, fingerprint=fingerprint)
        except DatabaseError as error:
            raise self.unavailable(f"its idempotency key could not be claimed: {error}", key) from error

    # --- legacy -----------------------------------------------------------------------------------------------
    def by_legacy(self, outcome: Outcome) -> R:
        """Let legacy do it; nobody else can have begun."""
        try:
            with transaction.atomic(using=_alias()):
                result = self._by_legacy_whole()
        except NotOwner as met:
            raise MetFence.of(met) from met
        except Exception as error:
            self._record("legacy", outcome if outcome is not Outcome.OK else self.operation.outcome_of(error))
            raise
        self._record("legacy", outcome)
        return result

    def _by_legacy_whole(self) -> R:
        return whole(lambda: self.operation.legacy(*self.args, **self.kwargs))

    def by_legacy_once(self, key: str) -> R:
        """Let legacy do it under the caller's key, which either side may have seen before."""
        fingerprint = self._fingerprint()
        held = claim(**self.claimable, key=key, fingerprint=fingerprint)
        if isinstance(held, Stored):
            return self._replayed(held, key)
        return self._under(held, key, fingerprint, Outcome.OK)

    def _fingerprint(self) -> str:
        """Return what the service would make of this call; the remote function says what it would send."""
        client = self._client(capturing)
        with suppress(Captured):
            self.operation.ask(client, self.args, self.kwargs)
        if client.sent is None:
            raise SeamMisused(f"The remote function of {self.operation.label} makes no request for a key to guard.")
        return client.sent.fingerprint

    def _under(self, held: Claim, key: str, fingerprint: str, outcome: Outcome) -> R:
        """Do the work and complete the claim in one transaction."""
        try:
            with transaction.atomic(using=_alias()):
                result = self._by_legacy_whole()
                status, data = self.operation.answer(result)
                held.complete(status=status, content_type=JSON, body=encode(data))
        except ClaimLost:
            return self._overtaken(key, fingerprint)
        except NotOwner as met:
            give_back(held)
            raise MetFence.of(met) from met
        except Exception as error:
            self._settle(held, error)
            self._record("legacy", outcome if outcome is not Outcome.OK else self.operation.outcome_of(error))
            raise
        self._record("legacy", outcome)
        return result

    def _settle(self, held: Claim, error: Exception) -> None:
        """Keep a refusal as the answer, so that a late twin is refused too; give the key back after a crash.

        A crash is the last word as well where the service may still be at it and the caller brought no key: nobody may
        succeed after it was told to somebody who cannot ask again.
        """
        refused = self.operation.refused(error)
        if refused is not None and not says_nothing(refused[0]):
            held.finish(status=refused[0], content_type=JSON, body=encode(refused[1]))
        elif refused is not None and says_later(refused[0]):
            held.give_back()
        elif held.taken_over and self.given is None:
            held.finish(status=500, content_type="", body=b"")
        else:
            give_back_after_crash(held)

    def _overtaken(self, key: str, fingerprint: str) -> R:
        """Take the word of whoever took the key while legacy outlived its lease, or stop them for good."""
        held = self._seized(key, fingerprint)
        if isinstance(held, Stored):
            return self._replayed(held, key)
        held.release()
        raise self.unavailable("legacy took longer than its claim lasts", key)

    def _replayed(self, stored: Stored, key: str) -> R:
        """Give the result of the first time."""
        if stored.status >= 500:
            raise self.unavailable("the first try under this key ended in an error; use a new key", key)
        self._record("extracted", Outcome.REPLAYED)
        return self.operation.ask(self._client(replaying(stored)), self.args, self.kwargs)

    # --- what both need ---------------------------------------------------------------------------------------
    def _client(self, transport: Any) -> Client:
        return Client(self.operation.label, transport, writes=True)

    def _record(self, side: str, outcome: Outcome) -> None:
        self.operation.record(side, outcome, self.started)

    def _warn(self, why: Exception) -> None:
        logger.warning("%s is not answered by the service (%s): %s", self.operation.label, code_of(why), why)

    def unavailable(self, why: str, key: str) -> Unavailable:
        """Return what the caller is told where nobody may do it now."""
        self._record("legacy", Outcome.UNAVAILABLE)
        logger.error("%s is unavailable: %s", self.operation.label, why)
        return Unavailable(f"{self.operation.label} cannot be carried out now: {why}.", key=key)


def _outcome(client: Client, *, crashed: bool) -> Outcome:
    answered = client.answered
    if answered is not None and not answered.ok:
        return Outcome.CLIENT_ERROR
    return Outcome.SERVER_ERROR if crashed else Outcome.OK


def _alias() -> str:
    return router.db_for_write(IdempotencyKey)
