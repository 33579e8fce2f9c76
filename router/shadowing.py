"""Turn a request that legacy has just answered into a comparison; from here on everything is off the request path."""

import io
import logging
import time
from typing import Any

from django.contrib.messages.storage import default_storage
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone, translation

from router.conf import conf
from router.exchange import USERS, Exchange
from router.forward import OutboundRequest, outbound_headers, raw_target, send
from router.identity import HEADER as IDENTITY_HEADER
from router.identity import Identity
from router.identity.tokens import issue
from router.service.headers import SHADOW_HEADER
from router.shadow import pool
from router.shadow.compare import Answer
from router.shadow.runner import Job
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
        decision, request, identity = exchange.decision, exchange.request, exchange.identity
        headers = [field for field in outbound_headers(request) if field[0].lower() not in CHANGES_THE_FORM]
        service, store, method, target = decision.service, decision.store, request.method or "GET", raw_target(request)
        pool.submit(
            Job(
                service=service,
                store=store,
                route=decision.route,
                method=method,
                path=target,
                legacy=_answer(response),
                ask_service=lambda: _ask_service(service, store, identity, method, target, headers),
                ask_legacy=self._ask_legacy,
            )
        )

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


def _ask_service(
    service: str, store: str, identity: Identity, method: str, target: str, headers: list[tuple[str, str]]
) -> Answer:
    settings = conf()
    token = issue(identity, audience=service, secret=settings.service(service).secret)
    outbound = OutboundRequest(
        method=method,
        raw_path_qs=target,
        headers=[*headers, (IDENTITY_HEADER, token), (SHADOW_HEADER, "1")],
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
    return Answer(status=response.status, content_type=response.header("Content-Type") or "", body=bytes(body))


def _answer(response: HttpResponse) -> Answer:
    return Answer(
        status=response.status_code, content_type=response.get("Content-Type", ""), body=bytes(response.content)
    )
