"""Turn a read that was just answered into a comparison; from here on everything is off the request path."""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from router.conf import conf
from router.decide import Decision
from router.exchange import Exchange
from router.forward import BodyStream, UpstreamResponse
from router.identity import Identity
from router.shadow import asking, guard, pool
from router.shadow.asking import Asked
from router.shadow.compare import Answer
from router.shadow.following import behind
from router.shadow.monolith import NOT_COMPARED, Monolith, answer_of
from router.shadow.runner import LEGACY, Ask, Job
from router.shadow.waiting import Budget

logger = logging.getLogger("router")


class Shadow:
    """A read that legacy is about to answer, as it is now."""

    def __init__(self, exchange: Exchange, monolith: Monolith) -> None:
        self._exchange = exchange
        self._monolith = monolith

    def compare(self, response: HttpResponseBase) -> None:
        """Queue the comparison with the service's answer; the client has its answer whatever goes wrong."""
        request = self._exchange.request
        try:
            self._submit(response)
        except Exception:
            logger.exception("%s %s could not be shadowed", request.method, request.path)

    def _submit(self, response: HttpResponseBase) -> None:
        """Queue the comparison; legacy's own failures and answers in another form are none."""
        exchange = self._exchange
        if response.status_code in NOT_COMPARED or response.has_header("Content-Encoding"):
            return
        if exchange.credentials_rejected or response.status_code >= 500:
            return
        if not isinstance(response, HttpResponse):
            not_compared(exchange.decision, "streamed")
            return
        closed = pool.closed(exchange.decision.service, exchange.decision.shadow_store, LEGACY)
        if closed:
            not_compared(exchange.decision, closed)
            return
        asked = Asked.of(exchange.request, exchange.request.method or "GET", exchange.identity)
        given, again = answer_of(response), self._monolith.ask_again
        pool.submit(_job(exchange.decision, asked, given, answered_by=LEGACY, ask_again=again))


def compare_answer(
    decision: Decision,
    source: HttpRequest | Mapping[str, Any],
    method: str,
    identity: Identity,
    response: UpstreamResponse,
    ask_legacy: Ask,
) -> None:
    """Have a read that the service answers compared with another store or with legacy, once the client has all of it.

    A body that is still arriving is remembered while it passes, as far as it may be compared.
    """
    try:
        closed = pool.closed(decision.service, decision.shadow_store, decision.store)
        if closed:
            not_compared(decision, closed)
            return
        _compare_answer(decision, Asked.of(source, method, identity), response, ask_legacy)
    except Exception:
        logger.exception("An answer of %s.%s could not be shadowed", decision.service, decision.store)


def not_compared(decision: Decision, cause: str) -> None:
    """Count a request that was to be compared, and was answered in a way that proves nothing."""
    pool.not_compared(
        service=decision.service,
        route=decision.route,
        store=decision.shadow_store or decision.store,
        cause=cause,
        kind=decision.grounds.facts.route.kind,
    )


def _compare_answer(decision: Decision, asked: Asked, response: UpstreamResponse, ask_legacy: Ask) -> None:
    if response.status in NOT_COMPARED:
        return
    service, store = decision.service, decision.store
    given = Answer(
        status=response.status,
        content_type=response.header("Content-Type") or "",
        body=b"",
        encoding=response.header("Content-Encoding") or "",
        headers=tuple(response.headers),
    )
    job = _job(decision, asked, given, answered_by=store, ask_again=lambda: asking.guarded(service, store, asked))
    if decision.shadow_store == LEGACY:
        job = replace(job, ask_copy=ask_legacy)
    if isinstance(response.body, bytes):
        pool.submit(replace(job, given=replace(given, body=response.body)))
    elif isinstance(response.body, BodyStream):
        response.body.onlooker = _Remembered(job, conf().shadow.max_bytes, pool.current().budget)


class _Remembered:
    """The parts of a body on its way to the client, as far as they may be compared and there is room for them."""

    def __init__(self, job: Job, most: int, budget: Budget) -> None:
        self._job = job
        self._most = most
        self._budget = budget
        self._parts: list[bytes] = []
        self._held = 0
        self._cause = guard.cause(job.service, job.answered_by)

    def passed(self, part: bytes) -> None:
        """Keep the part."""
        if self._cause:
            return
        if self._held + len(part) > self._most:
            self._forget("too_large")
        elif not self._budget.take(len(part)):
            self._forget("queue_bytes")
        else:
            self._held += len(part)
            self._parts.append(part)

    def ended(self, *, complete: bool) -> None:
        """Queue the comparison, or count why there is none."""
        body = b"".join(self._parts)
        cause = self._cause or ("" if complete else "incomplete")
        self._forget(cause)
        if cause:
            pool.drop(self._job, cause)
        else:
            given = replace(self._job.given, body=body)
            pool.submit(replace(self._job, given=given, submitted=time.monotonic()))

    def _forget(self, cause: str) -> None:
        self._cause = cause
        self._budget.give(self._held)
        self._held = 0
        self._parts.clear()


def _job(decision: Decision, asked: Asked, given: Answer, *, answered_by: str, ask_again: Ask) -> Job:
    service, store = decision.service, decision.shadow_store
    return Job(
        service=service,
        store=store,
        route=decision.route,
        method=asked.method,
        path=asked.target,
        given=given,
        ask_copy=lambda: asking.ask(service, store, asked),
        ask_again=ask_again,
        answered_by=answered_by,
        follows=decision.compares_stores,
        behind=behind(decision),
        patience=conf().shadow.patience_seconds,
        subject=asked.identity.subject or "",
    )
