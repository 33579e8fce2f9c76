"""Writes that come in by HTTP: by whoever owns their data, and 503 where nobody does in time."""

import logging
from functools import partial

from django.http import JsonResponse

from router.decide import Decision
from router.diversion import Answered, answer_by_legacy, diverted, tell_key
from router.exchange import Exchange
from router.handover import own_writes
from router.handover.carry import carried_out
from router.handover.errors import Cause, MetFence, Unowned
from router.handover.owners import owner_if_known
from router.holders import Holder
from router.metrics import Outcome
from router.routes import Route
from router.steps import Steps, in_database

logger = logging.getLogger("router")

FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
"""Content types in whose fields a CSRF token may stand."""


def written(exchange: Exchange) -> Steps[Answered]:
    """Answer a write: once, or 503 with nothing done."""
    try:
        if exchange.decision.side == "none":
            turned_away = yield from not_let_in(exchange)
            if turned_away is not None:
                return turned_away
        return (yield from carried_out(_Write(exchange)))
    except Unowned as nobody:
        return _told_to_come_back(exchange, nobody)
    except MetFence:  # of what legacy did not refuse, though it should have
        return _told_to_come_back(exchange, Unowned("elsewhere"))


def looked_for_owner(exchange: Exchange) -> Steps[None]:
    """Have a read answered by who owns its data now, where that may be somebody else than the rules say.

    They are as old as the last poll. Whoever has just written reads what was written only where it was written. Where
    the owner cannot be read the rules hold: nobody owning it would mean that legacy had it last.
    """
    bucket = exchange.decision.bucket
    if bucket is None or not exchange.decision.unsettled:
        return
    owner = yield from in_database(partial(owner_if_known, exchange.route.service, bucket))
    if owner is None:
        own_writes.may_be_stale()
    else:
        exchange.hand_to(owner)


def let_in(exchange: Exchange) -> Steps[Answered]:
    """Answer by the service, unless the request is one that a service must not see."""
    turned_away = yield from not_let_in(exchange)
    return turned_away if turned_away is not None else (yield from diverted(exchange))


def not_let_in(exchange: Exchange) -> Steps[Answered | None]:
    """Answer what Django would refuse before its view runs; a diverted request never comes that far."""
    if exchange.credentials_rejected or not exchange.host_is_ours:
        exchange.note = "credentials-rejected" if exchange.credentials_rejected else "host-not-allowed"
        return (yield from answer_by_legacy(exchange))
    if exchange.forbidden is None:
        return None
    if not exchange.body_is_kept and exchange.request.content_type in FORMS:
        exchange.note = "csrf-token-unread"  # legacy reads the form, and looks for the token there
        return (yield from answer_by_legacy(exchange))
    exchange.note = "csrf-failed"
    return Answered(response=exchange.forbidden, side="legacy", outcome=Outcome.CLIENT_ERROR)


class _Write:
    """A request as the loop over its owners sees it."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.route: Route = exchange.route

    @property
    def decision(self) -> Decision:
        """Who is to carry it out."""
        return self._exchange.decision

    def attempt(self) -> Steps[Answered]:
        """Have it carried out by the side that was decided for."""
        exchange = self._exchange
        return (yield from (answer_by_legacy if exchange.decision.side == "legacy" else let_in)(exchange))

    def find_bucket(self) -> Steps[int | None]:
        """Return the bucket of whoever owns the data."""
        return (yield from in_database(self._exchange.find_bucket))

    def hand_to(self, owner: Holder) -> None:
        """Decide anew."""
        self._exchange.hand_to(owner)
        self._exchange.note = f"handed-to-{owner}"

    def cannot_be_tried_again(self) -> Cause | None:
        """Return why the request cannot be sent again, None if it can."""
        if not self.route.replayable:
            return "not_replayable"
        return None if self._exchange.has_body else "body_not_kept"


def _told_to_come_back(exchange: Exchange, nobody: Unowned) -> Answered:
    exchange.note = f"unowned:{nobody.cause}"
    logger.warning("%s %s is answered 503: %s", exchange.request.method, exchange.request.path, nobody)
    response = JsonResponse(
        {"code": nobody.cause, "detail": f"{nobody} Send the same request again."},
        status=503,
        headers={"Retry-After": "1"},
    )
    if exchange.in_doubt is not None:
        tell_key(exchange, response)
    return Answered(response=response, side="none", outcome=Outcome.UNAVAILABLE)
