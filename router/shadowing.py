"""Turn a read that was just answered into a comparison; from here on everything is off the request path."""

import io
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.contrib.messages.storage import default_storage
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone, translation

from router.breaker import breaker_for
from router.conf import conf
from router.decide import Decision
from router.exchange import USERS, Exchange
from router.forward import (
    BodyStream,
    Headers,
    OutboundRequest,
    UpstreamResponse,
    outbound_headers,
    raw_target,
    send,
)
from router.identity import HEADER as IDENTITY_HEADER
from router.identity import Identity
from router.identity.tokens import issue
from router.service.headers import SHADOW_HEADER
from router.shadow import pool
from router.shadow.compare import Answer
from router.shadow.runner import LEGACY, Ask, Job, ServiceFailed
from router.steps import GetResponse
from router.upstreams import upstream_for

logger = logging.getLogger("router")

NOT_COMPARED = frozenset({206, 304})
KNOWN_ABOUT_THE_CLIENT = (*USERS, "_strangler_resolved_token")
"""Private attributes in which resolvers keep whom they looked up."""
CHANGES_THE_FORM = frozenset({"accept-encoding", "if-match", "if-modified-since", "if-none-match", "if-range", "range"})
"""Request headers that ask for another form of the same answer; a comparison wants the answer itself."""


class Shadow:
    """A read that legacy is about to answer, as it is now: views and middleware may change it on the way."""

    def __init__(self, exchange: Exchange, legacy: GetResponse) -> None:
        self._exchange = exchange
        self._legacy = legacy
        self._attributes = dict(vars(exchange.request))
        self._attributes["META"] = dict(exchange.request.META)
        self._language = translation.get_language()
        self._timezone = timezone.get_current_timezone()

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
        if exchange.credentials_rejected or not isinstance(response, HttpResponse) or response.status_code >= 500:
            return
        asked = _Asked.of(exchange.request, exchange.request.method or "GET", exchange.identity)
        pool.submit(_job(exchange.decision, asked, _answer(response), answered_by=LEGACY, ask_again=self._ask_legacy))

    def _ask_legacy(self) -> Answer:
        """Let the monolith answer the same read once more, as the same client, in the same language."""
        again = self._again()
        with translation.override(self._language), timezone.override(self._timezone):
            response = self._legacy(again)
        if not isinstance(response, HttpResponse):
            raise TypeError(f"legacy answered {again.path} with a {type(response).__name__}, which cannot be compared")
        return _answer(response)

    def _again(self) -> HttpRequest:
        """Return the request as it reached the router, with what stands before it has found out, and no body."""
        request: Any = self._exchange.request
        again: Any
        if hasattr(request, "scope"):
            again = type(request)(request.scope, io.BytesIO())
        else:
            again = type(request)({**self._attributes["META"], "wsgi.input": io.BytesIO()})
        fresh = vars(again)
        for name, value in self._attributes.items():
            if name not in fresh and (not name.startswith("_") or name in KNOWN_ABOUT_THE_CLIENT):
                fresh[name] = value
        again.META = dict(self._attributes["META"])
        if "session" in fresh:
            again.session = type(again.session)(again.session.session_key)
        if "_messages" in self._attributes:
            again._messages = default_storage(again)
        return again  # type: ignore[no-any-return]


def compare_stores(
    decision: Decision,
    source: HttpRequest | Mapping[str, Any],
    method: str,
    identity: Identity,
    response: UpstreamResponse,
) -> None:
    """Have a read that one store of the service answers compared with another, once the client has all of the answer.

    A body that is still arriving is remembered while it passes, as far as it may be compared.
    """
    try:
        _compare_stores(decision, _Asked.of(source, method, identity), response)
    except Exception:
        logger.exception("An answer of %s.%s could not be shadowed", decision.service, decision.store)


def not_compared(decision: Decision, cause: str) -> None:
    """Count a read that was to be compared, and was answered in a way that proves nothing."""
    pool.not_compared(
        service=decision.service, route=decision.route, store=decision.shadow_store or decision.store, cause=cause
    )


def _compare_stores(decision: Decision, asked: "_Asked", response: UpstreamResponse) -> None:
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
    job = _job(decision, asked, given, answered_by=store, ask_again=lambda: _ask_guarded(service, store, asked))
    if isinstance(response.body, bytes):
        pool.submit(replace(job, given=replace(given, body=response.body)))
    elif isinstance(response.body, BodyStream):
        response.body.onlooker = _Remembered(job, conf().shadow.max_bytes)


class _Remembered:
    """The parts of a body on its way to the client, until there are more than may be compared."""

    def __init__(self, job: Job, most: int) -> None:
        self._job = job
        self._most = most
        self._parts: list[bytes] = []
        self._length = 0

    def passed(self, part: bytes) -> None:
        """Keep the part."""
        self._length += len(part)
        if self._length <= self._most:
            self._parts.append(part)
        else:
            self._parts.clear()

    def ended(self, *, complete: bool) -> None:
        """Queue the comparison, or count why there is none."""
        if not complete:
            pool.drop(self._job, "incomplete")
        elif self._length > self._most:
            pool.drop(self._job, "too_large")
        else:
            given = replace(self._job.given, body=b"".join(self._parts))
            pool.submit(replace(self._job, given=given, submitted=time.monotonic()))


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A read as a comparison asks for it, of whatever store."""

    method: str
    target: str
    headers: Headers
    identity: Identity

    @classmethod
    def of(cls, source: HttpRequest | Mapping[str, Any], method: str, identity: Identity) -> "_Asked":
        """Take it over from a request as it is now, without what asks for another form of the answer."""
        headers = [field for field in outbound_headers(source) if field[0].lower() not in CHANGES_THE_FORM]
        return cls(method=method, target=raw_target(source), headers=headers, identity=identity)


def _job(decision: Decision, asked: _Asked, given: Answer, *, answered_by: str, ask_again: Ask) -> Job:
    service, store = decision.service, decision.shadow_store
    return Job(
        service=service,
        store=store,
        route=decision.route,
        method=asked.method,
        path=asked.target,
        given=given,
        ask_copy=lambda: _ask(service, store, asked),
        ask_again=ask_again,
        answered_by=answered_by,
        follows=decision.compares_stores,
        subject=asked.identity.subject or "",
    )


def _ask_guarded(service: str, store: str, asked: _Asked) -> Answer:
    """Ask the store that has answered once more, without disturbing the breaker of its clients."""
    with breaker_for(upstream_for(service, store), purpose="shadow").calling():
        answer = _ask(service, store, asked)
        if answer.status >= 500:
            raise ServiceFailed(answer.status)
    return answer


def _ask(service: str, store: str, asked: _Asked) -> Answer:
    settings = conf()
    token = issue(asked.identity, audience=service, secret=settings.service(service).secret)
    outbound = OutboundRequest(
        method=asked.method,
        raw_path_qs=asked.target,
        headers=[*asked.headers, (IDENTITY_HEADER, token), (SHADOW_HEADER, "1")],
        deadline=time.monotonic() + settings.shadow.deadline_seconds,
    )
    response = send(upstream_for(service, store), outbound)
    body, limit = bytearray(), settings.shadow.max_bytes
    try:
        for part in [response.body] if isinstance(response.body, bytes) else response.body:
            body += part
            if len(body) > limit:
                break
    finally:
        response.close()
    return Answer(
        status=response.status,
        content_type=response.header("Content-Type") or "",
        body=bytes(body),
        encoding=response.header("Content-Encoding") or "",
        headers=tuple(response.headers),
    )


def _answer(response: HttpResponse) -> Answer:
    return Answer(
        status=response.status_code,
        content_type=response.get("Content-Type", ""),
        body=bytes(response.content),
        headers=tuple(response.items()),
    )
