"""Turn a request that legacy has just answered into a comparison; from here on everything is off the request path."""

import io
import logging
import time
from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from router.conf import conf
from router.exchange import Exchange, GetResponse
from router.forward import OutboundRequest, outbound_headers, raw_target, send
from router.identity import HEADER as IDENTITY_HEADER
from router.identity import Identity
from router.identity.tokens import issue
from router.service.headers import SHADOW_HEADER
from router.shadow import pool
from router.shadow.compare import Answer
from router.shadow.runner import Job
from router.upstreams import upstream_for

logger = logging.getLogger("router")

NOT_COMPARED = frozenset({206, 304})
SHARED_ATTRIBUTES = ("user", "_strangler_resolved_token", "site", "urlconf")
"""What earlier middleware and resolvers found out about the client, which asking legacy again takes over."""


CHANGES_THE_FORM = frozenset({"accept-encoding", "if-match", "if-modified-since", "if-none-match", "if-range", "range"})
"""Request headers that ask for another form of the same answer; a comparison wants the answer itself."""


def shadow(exchange: Exchange, response: HttpResponseBase, legacy: GetResponse) -> None:
    """Queue the comparison of legacy's answer with the service's; the client has its answer whatever goes wrong."""
    try:
        _submit(exchange, response, legacy)
    except Exception:
        logger.exception("%s %s could not be shadowed", exchange.request.method, exchange.request.path)


def _submit(exchange: Exchange, response: HttpResponseBase, legacy: GetResponse) -> None:
    """Queue the comparison; legacy's own failures and answers in another form are none."""
    if response.status_code in NOT_COMPARED or response.has_header("Content-Encoding"):
        return
    if exchange.credentials_rejected or not isinstance(response, HttpResponse) or response.status_code >= 500:
        return
    decision, request, identity = exchange.decision, exchange.request, exchange.identity
    headers = [field for field in outbound_headers(request) if field[0].lower() not in CHANGES_THE_FORM]
    target, environ = raw_target(request), dict(request.META)
    service, store, method = decision.service, decision.store, request.method or "GET"
    pool.submit(
        Job(
            service=service,
            store=store,
            route=decision.route,
            method=method,
            path=target,
            legacy=_answer(response),
            ask_service=lambda: _ask_service(service, store, identity, method, target, headers),
            ask_legacy=lambda: _ask_legacy(request, environ, legacy),
        )
    )


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


def _ask_legacy(request: HttpRequest, environ: dict[str, Any], legacy: GetResponse) -> Answer:
    """Let the monolith answer the same read once more, as the same client, with a session of its own."""
    again = WSGIRequest({**environ, "wsgi.input": io.BytesIO()})
    for name in SHARED_ATTRIBUTES:
        if hasattr(request, name):
            setattr(again, name, getattr(request, name))
    session = getattr(request, "session", None)
    if session is not None:
        again.session = type(session)(session.session_key)
    response = legacy(again)
    if not isinstance(response, HttpResponse):
        raise TypeError(f"legacy answered {request.path} with a {type(response).__name__}, which cannot be compared")
    return _answer(response)


def _answer(response: HttpResponse) -> Answer:
    return Answer(
        status=response.status_code, content_type=response.get("Content-Type", ""), body=bytes(response.content)
    )
