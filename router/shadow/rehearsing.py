"""Compare a write that legacy has answered with a dry-run of it by the service."""

import base64
import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from django.http import HttpResponse, HttpResponseBase, RawPostDataException

from router.conf import conf
from router.decide import Decision
from router.diversion import Answered
from router.exchange import Exchange
from router.holders import LEGACY
from router.metrics import Outcome
from router.shadow import asking, pool
from router.shadow.asking import Asked
from router.shadow.compare import Answer
from router.shadow.monolith import answer_of
from router.shadow.runner import Job, NotCompared
from router.shadowing import not_compared

logger = logging.getLogger("router")

WRITTEN = "written_document"
"""The name under which the document of what was written stands in the answer, while it is compared."""
COMPARED = frozenset({Outcome.OK, Outcome.CLIENT_ERROR})
NOT_ADMITTED = frozenset({401, 403})
"""Legacy may have wanted a CSRF token, or did not believe the client: a service does not ask for either."""
CONFLICT = 409
"""Legacy has refused for the state that things were in, which may be another by now."""
ABLE_SECONDS = 30.0
"""For so long it is taken for granted that a service still does dry-runs of a route, or does not."""


class Write:
    """A write as it reached the router, that legacy is about to answer."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._cause = ""
        self._body = self._kept()

    def compare(self, answered: Answered) -> None:
        """Queue the comparison with a dry-run; the client has its answer whatever goes wrong."""
        request = self._exchange.request
        try:
            self._submit(answered)
        except Exception:
            logger.exception("%s %s could not be rehearsed", request.method, request.path)

    def _kept(self) -> bytes:
        """Return the body, which legacy is going to consume, if it is short enough."""
        exchange = self._exchange
        if exchange.content_length > conf().shadow.max_request_bytes or not exchange.body_is_kept:
            self._cause = "request_too_large"
            return b""
        try:
            return exchange.request.body
        except RawPostDataException:  # a form that middleware has parsed already
            self._cause = "request_consumed"
        except OSError:  # the client has gone; legacy finds that out as well
            self._cause = "incomplete"
        return b""

    def _submit(self, answered: Answered) -> None:
        exchange, response = self._exchange, answered.response
        decision = exchange.decision
        if answered.side != LEGACY or answered.outcome not in COMPARED or not decision.shadow:
            return
        cause = self._cause or _not_comparable(response, exchange)
        if cause:
            not_compared(decision, cause)
            return
        asked = Asked.of(exchange.request, exchange.request.method or "POST", exchange.identity, body=self._body)
        given = answer_of(response)
        rehearsal = _Rehearsal(decision, asked, given.status)
        later = partial(_submit, _job(decision, asked, given, rehearsal), rehearsal)
        # By the server, once the client has its answer: it waits for nothing, and has not had the time to do more.
        response._resource_closers.append(later)  # type: ignore[attr-defined]


def _not_comparable(response: HttpResponseBase, exchange: Exchange) -> str:
    if response.status_code in NOT_ADMITTED or exchange.credentials_rejected:
        return "not_admitted"
    if response.status_code == CONFLICT:
        return "conflict"
    if response.has_header("Idempotency-Replayed"):
        return "replayed"
    return "" if isinstance(response, HttpResponse) else "streamed"


def _submit(job: Job, rehearsal: "_Rehearsal") -> None:
    """Queue the comparison, with the document as legacy has just written it."""
    closed = pool.closed(job.service, job.store, job.answered_by)
    if closed:
        pool.drop(job, closed)
        return
    try:
        rehearsal.look(job.given)
    except Exception:
        logger.exception("What %s %s has written could not be read", job.method, job.path.partition("?")[0])
        pool.drop(job, "comparator")
        return
    pool.submit(job)


def _job(decision: Decision, asked: Asked, given: Answer, rehearsal: "_Rehearsal") -> Job:
    route = decision.grounds.facts.route
    return Job(
        service=decision.service,
        store=decision.shadow_store,
        route=decision.route,
        method=asked.method,
        path=asked.target,
        given=given,
        ask_copy=rehearsal.ask,
        ask_again=_never,
        kind=route.kind,
        request_bytes=len(asked.body),
        ignore=route.minted,
        completed=rehearsal.completed,
    )


class _Rehearsal:
    """One write's dry-runs."""

    def __init__(self, decision: Decision, asked: Asked, given: int) -> None:
        self._route = decision.grounds.facts.route
        self._place = decision.service, decision.shadow_store, decision.route
        self._asked = asked
        self._given = given
        self._document: Any = None
        """What legacy has written."""
        self._has_document = False

    def look(self, given: Answer) -> None:
        """Read what legacy has written, if the route says how."""
        written = self._route.written
        if written is None or given.status >= 400:
            return
        answer = json.loads(given.body)
        self._document = written(answer) if isinstance(answer, dict) else None

    def ask(self) -> Answer:
        """Return what the service would answer, with what it would have written."""
        service, store, _ = self._place
        if not _able.says(self._place, self._asked):
            raise NotCompared("dry_run_unsupported")
        envelope = asking.rehearse(service, store, self._asked, given=self._given)
        answer, document = _opened(envelope)
        self._has_document = document is not None and self._document is not None
        return _with(answer, document) if self._has_document else answer

    def completed(self, given: Answer) -> Answer:
        """Add the document that legacy has written, where the service has said what it would have."""
        return _with(given, self._document) if self._has_document else given


def _opened(envelope: Answer) -> tuple[Answer, Any]:
    """Return the answer in an envelope, and the document beside it."""
    try:
        said: Mapping[str, Any] = json.loads(envelope.body)
        answer = Answer(
            status=int(said["status"]),
            content_type=str(said["content_type"]),
            body=base64.b64decode(said["body"], validate=True),
        )
        return answer, said["written"]
    except (ValueError, KeyError, TypeError) as error:
        raise NotCompared("dry_run_unreadable", str(error)) from error


def _with(answer: Answer, document: Any) -> Answer:
    """Return the answer with a document in it, if it is a JSON object."""
    try:
        fields = json.loads(answer.body)
    except ValueError:
        return answer
    if not isinstance(fields, dict):
        return answer
    return replace(answer, body=json.dumps({**fields, WRITTEN: document}, default=str).encode())


def _never() -> Answer:
    raise NotCompared("not_repeatable", "a write is not done a second time")


class _Able:
    """Which services have said lately that they do dry-runs; asked off the request path only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str, str], tuple[bool, float]] = {}

    def says(self, place: tuple[str, str, str], asked: Asked) -> bool:
        """Return whether a service's store does dry-runs of a route, as it said a while ago, or says now."""
        with self._lock:
            able, until = self._known.get(place, (False, 0.0))
        if time.monotonic() < until:
            return able
        able = asking.could_rehearse(place[0], place[1], asked)
        with self._lock:
            self._known[place] = able, time.monotonic() + ABLE_SECONDS
        return able


_able = _Able()


def reset() -> None:
    """Forget which services do dry-runs; for tests, and for a forked child."""
    global _able
    _able = _Able()


os.register_at_fork(after_in_child=reset)
