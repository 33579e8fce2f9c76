"""Carry out a request that the service is to answer, and let legacy answer where the service cannot.

Reads fall back freely. A write falls back at once if it certainly was not sent. If it was sent and no answer came, it
may or may not have taken effect; then its idempotency key is taken from the service first. A service that comes late
cannot commit any more, and one that had committed has left its answer with the key.
"""

import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import DatabaseError
from django.http import HttpResponse, HttpResponseBase, JsonResponse

from router.breaker import BreakerOpen, breaker_for
from router.conf import conf
from router.exceptions import ConfigurationError, StranglerError, UnknownService
from router.exchange import Exchange
from router.fences import watched
from router.forward import (
    Ambiguous,
    ForwardError,
    NotSent,
    OutboundRequest,
    Upstream,
    UpstreamResponse,
    outbound_headers,
    raw_target,
    send,
    to_django,
)
from router.handover import own_writes
from router.handover.errors import MetFence
from router.handover.owners import refuse_if_moved
from router.idempotency.claims import HEADER as KEY_HEADER
from router.idempotency.claims import Claim, Stored, fingerprint_of, seize
from router.idempotency.errors import IdempotencyError
from router.idempotency.guard import CLAIM_ATTRIBUTE, settle
from router.identity import HEADER as IDENTITY_HEADER
from router.identity.tokens import issue
from router.metrics import Outcome
from router.service.headers import NOT_OWNER_HEADER, REFUSED_HEADER, WROTE_HEADER
from router.shadowing import compare_answer, not_compared
from router.steps import GetResponse, Steps, by_legacy, carry_out, in_database, on_the_wire
from router.upstreams import upstream_for

logger = logging.getLogger("router")


class UpstreamFailed(StranglerError):
    """The service answered with a server error, or refused the router itself."""

    def __init__(self, status: int) -> None:
        super().__init__(f"The service answered {status}.")
        self.status = status


TOO_LONG = "The body was too long to be kept for a second try."
NOT_SENT = (BreakerOpen, NotSent, ConfigurationError, UnknownService)
"""What says for certain that the service was not asked; a process without the service's address cannot ask it."""
NO_ANSWER = (*NOT_SENT, Ambiguous, UpstreamFailed, MetFence)
"""What ``call`` raises where the service gave no answer to pass on."""
WATCHED = "strangler_watched"
"""Set on a request whose fences are counted, so that an error of one need not be reported as a crash."""
FAILED_AHEAD = "strangler.failed_ahead"
"""Key in the WSGI environment, which no client can set: why the service did not answer ``router.ahead``."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """Who answered in the end, and what kind of answer it was."""

    response: HttpResponseBase
    side: str
    outcome: Outcome


def divert(exchange: Exchange, legacy: GetResponse) -> Answered:
    """Answer by the service, or by legacy where that is safe; never by both."""
    return carry_out(diverted(exchange), legacy)


def diverted(exchange: Exchange) -> Steps[Answered]:
    """Return the steps of ``divert``, for whoever carries them out."""
    return _divert_write(exchange) if exchange.is_write else _divert_read(exchange)


def ask(exchange: Exchange, *, key: str | None = None) -> UpstreamResponse:
    """Send the request to the service and return its answer; raise for no answer and for a server error."""
    upstream = upstream_for(exchange.decision.service, exchange.decision.store)
    alone = exchange.is_write and exchange.decision.owner == "extracted"
    return call(upstream.patient if alone else upstream, _outbound(exchange, key))


def call(upstream: Upstream, outbound: OutboundRequest) -> UpstreamResponse:
    """Call the service under its breaker; a server error counts as a failure and is raised.

    That a fence has refused the work is no failure of the service's, and is raised as well.
    """
    with breaker_for(upstream).calling() as guarded:
        response = send(upstream, outbound)
        if response.status >= 500 or response.header(REFUSED_HEADER) is not None:
            response.close()
            raise UpstreamFailed(response.status)
        refused = response.header(NOT_OWNER_HEADER)
        if refused is None:
            return guarded.watch(response)
    response.close()
    raise MetFence(refused)


def _asked(exchange: Exchange, key: str | None) -> Steps[UpstreamResponse]:
    return (yield from on_the_wire(exchange.decision.service, lambda: ask(exchange, key=key)))


def _divert_read(exchange: Exchange) -> Steps[Answered]:
    failed_ahead = exchange.request.META.get(FAILED_AHEAD)
    if failed_ahead is not None:
        return (yield from _read_from_legacy(exchange, failed_ahead))
    try:
        response = yield from _asked(exchange, None)
    except NO_ANSWER as why:
        return (yield from _read_from_legacy(exchange, why))
    request, decision = exchange.request, exchange.decision
    if decision.shadow and exchange.ask_legacy is not None:
        compare_answer(
            decision, request, request.method or "GET", exchange.identity, response, ask_legacy=exchange.ask_legacy
        )
    return _from_service(response)


def _read_from_legacy(exchange: Exchange, why: Exception) -> Steps[Answered]:
    if exchange.decision.shadow:
        not_compared(exchange.decision, "fallback")
    if exchange.decision.has_left:
        yield from own_writes.caught_up(exchange)
    not_sent = isinstance(why, NOT_SENT)
    return (yield from _from_legacy(exchange, why, Outcome.FALLBACK_NOT_SENT if not_sent else Outcome.FALLBACK_FAILED))


def _divert_write(exchange: Exchange) -> Steps[Answered]:
    key = _key_of(exchange)
    try:
        response = yield from _asked(exchange, key)
        own_writes.note(response.header(WROTE_HEADER))
        return _from_service(response)
    except MetFence:
        raise
    except NO_ANSWER as why:
        if exchange.decision.owner != "extracted":
            return (yield from _unanswered(exchange, why, key))
        if isinstance(why, NOT_SENT):
            yield from in_database(partial(refuse_if_moved, exchange.decision, why))
        return _unavailable(exchange, str(why))  # legacy may not write what the service owns


def _key_of(exchange: Exchange) -> str:
    """Return the idempotency key of a write: its client's, or one that is minted here."""
    given = exchange.request.headers.get(KEY_HEADER)
    return exchange.minted_key if given is None else given


def _unanswered(exchange: Exchange, why: Exception, key: str) -> Steps[Answered]:
    if not isinstance(why, NOT_SENT):
        exchange.in_doubt = why
        return (yield from _take_over(exchange, why, key, Outcome.FALLBACK_CLAIMED))
    # A key of the client's own may have come before, on a request that is still under way; so may ours, the last time.
    if KEY_HEADER not in exchange.request.headers and exchange.in_doubt is None:
        return (yield from _not_sent(exchange, why))
    return (yield from _take_over(exchange, why, key, Outcome.FALLBACK_NOT_SENT))


def _not_sent(exchange: Exchange, why: Exception) -> Steps[Answered]:
    if not exchange.body_is_whole:
        return _unavailable(exchange, f"{why} Part of the body was read already.")
    return (yield from _from_legacy(exchange, why, Outcome.FALLBACK_NOT_SENT))


def _take_over(exchange: Exchange, why: Exception, key: str, outcome: Outcome) -> Steps[Answered]:
    """Take the request's key from the service, then let legacy answer under it."""
    kept = exchange.body_is_kept
    if not kept and KEY_HEADER in exchange.request.headers:
        return _unavailable(exchange, f"{why} {TOO_LONG}")
    held = yield from in_database(lambda: _seized(exchange, key, keep=kept))
    if isinstance(held, Answered):
        return held
    if isinstance(held, Stored):
        return _stored(exchange, held, why)
    if not kept:  # nobody knows the key, and the client is going to send the request again: this one has to end here
        yield from in_database(partial(held.finish, status=503, content_type="", body=b""))
        return _unavailable(exchange, f"{why} {TOO_LONG}")
    return (yield from _under_claim(exchange, why, held, outcome, key))


def _seized(exchange: Exchange, key: str, *, keep: bool) -> Claim | Stored | Answered:
    """Return what taking the key gives, or the answer to a client whose key could not be had."""
    fingerprint = fingerprint_of(exchange.request) if keep else None
    subject = exchange.identity.subject or ""
    try:
        return seize(scope=exchange.route.service, subject=subject, key=key, fingerprint=fingerprint)
    except IdempotencyError as error:
        return _refused(exchange, error)
    except DatabaseError as error:
        return _unavailable(exchange, f"The request's idempotency key could not be claimed: {error}")


def _under_claim(exchange: Exchange, why: Exception, held: Claim, outcome: Outcome, key: str) -> Steps[Answered]:
    request: Any = exchange.request
    setattr(request, CLAIM_ATTRIBUTE, held)
    try:
        answered = yield from _from_legacy(exchange, why, outcome)
    except MetFence:
        # The data moved after the service was asked, and now neither has done anything: the key waits for a retry.
        yield from in_database(held.lapse)
        setattr(request, CLAIM_ATTRIBUTE, None)
        raise
    yield from in_database(lambda: settle(request, answered.response))
    return (yield from _overtaken(exchange, why, key)) if held.lost else answered


def _overtaken(exchange: Exchange, why: Exception, key: str) -> Steps[Answered]:
    """Answer for the service, which took the key back once legacy had outlived its lease, or stop it for good."""
    held = yield from in_database(lambda: _seized(exchange, key, keep=True))
    if isinstance(held, Answered):
        return held
    if isinstance(held, Stored):
        return _stored(exchange, held, why)
    yield from in_database(held.release)
    return _unavailable(exchange, f"{why} Legacy took longer than its claim on the request lasts.")


def _stored(exchange: Exchange, held: Stored, why: Exception) -> Answered:
    exchange.note = f"stored-answer:{code_of(why)}"
    response = HttpResponse(held.body, status=held.status, content_type=held.content_type, headers=held.headers)
    return Answered(response=response, side="extracted", outcome=Outcome.REPLAYED)


def _from_service(response: UpstreamResponse) -> Answered:
    outcome = Outcome.OK if response.status < 400 else Outcome.CLIENT_ERROR
    return Answered(response=to_django(response), side="extracted", outcome=outcome)


def _from_legacy(exchange: Exchange, why: Exception, outcome: Outcome) -> Steps[Answered]:
    exchange.note = f"fallback:{code_of(why)}"
    logger.warning("%s %s is answered by legacy: %s", exchange.request.method, exchange.request.path, why)
    response = yield from _written_by_legacy(exchange) if exchange.is_write else by_legacy(exchange.request)
    return Answered(response=response, side="legacy", outcome=outcome)


def answer_by_legacy(exchange: Exchange) -> Steps[Answered]:
    """Let legacy answer what stays with it; raise MetFence if a write of it was refused."""
    if exchange.in_doubt is not None:
        return (yield from _take_over(exchange, exchange.in_doubt, _key_of(exchange), Outcome.FALLBACK_CLAIMED))
    response = yield from _written_by_legacy(exchange) if exchange.is_write else by_legacy(exchange.request)
    return Answered(response=response, side="legacy", outcome=_outcome(response))


def _written_by_legacy(exchange: Exchange) -> Steps[HttpResponseBase]:
    """Let legacy write. A fence that it met counts, whatever its code has made of the error."""
    exchange.keep_body()
    setattr(exchange.request, WATCHED, True)
    with watched() as met:
        response = yield from by_legacy(exchange.request)
    if met:
        raise MetFence.of(met[0])
    return response


def _outcome(response: HttpResponseBase) -> Outcome:
    if response.status_code >= 500:
        return Outcome.SERVER_ERROR
    return Outcome.CLIENT_ERROR if response.status_code >= 400 else Outcome.OK


def _refused(exchange: Exchange, error: IdempotencyError) -> Answered:
    exchange.note = f"refused:{error.code}"
    response = JsonResponse({"code": error.code, "detail": str(error)}, status=error.status_code)
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
        tell_key(exchange, response)
    return Answered(response=response, side="legacy", outcome=Outcome.CLIENT_ERROR)


def _unavailable(exchange: Exchange, why: str) -> Answered:
    exchange.note = "unavailable"
    logger.error("%s %s is answered 503: %s", exchange.request.method, exchange.request.path, why)
    response = JsonResponse(
        {
            "code": "unavailable",
            "detail": "The service did not answer. Send the same request again, with the same Idempotency-Key.",
        },
        status=503,
        headers={"Retry-After": "1"},
    )
    tell_key(exchange, response)
    return Answered(response=response, side="legacy", outcome=Outcome.UNAVAILABLE)


def tell_key(exchange: Exchange, response: HttpResponse) -> None:
    """Give a client without a key the one minted for it: with that, a second try takes effect once."""
    if KEY_HEADER not in exchange.request.headers:
        response[KEY_HEADER] = exchange.minted_key


def code_of(why: Exception) -> str:
    """Return why the service did not answer, as a short code for a header."""
    if isinstance(why, UpstreamFailed):
        return f"status-{why.status}"
    if isinstance(why, MetFence):
        return "not-owner"
    if isinstance(why, ForwardError):
        return f"{'not-sent' if isinstance(why, NotSent) else 'ambiguous'}-{why.cause}"
    return "breaker-open" if isinstance(why, BreakerOpen) else "misconfigured"


def _outbound(exchange: Exchange, key: str | None) -> OutboundRequest:
    request = exchange.request
    service = conf().service(exchange.decision.service)
    token = issue(exchange.identity, audience=service.name, secret=service.secret)
    headers = [field for field in outbound_headers(request) if field[0].lower() != KEY_HEADER.lower()]
    headers.append((IDENTITY_HEADER, token))
    if key is not None:
        headers.append((KEY_HEADER, key))
    kept = exchange.body_is_kept
    return OutboundRequest(
        method=request.method or "GET",
        raw_path_qs=raw_target(request),
        headers=headers,
        body=request.body if kept else request,
        content_length=None if kept else exchange.content_length,
    )
