"""Make a comparison of a request that legacy has just answered."""

import copy
import io
import logging
from collections.abc import Callable
from time import monotonic
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from router import metrics
from router.conf import conf
from router.exchange import Exchange
from router.forward import OutboundRequest, outbound_headers, raw_target, send
from router.identity import HEADER as IDENTITY_HEADER
from router.identity.tokens import issue
from router.metrics import Outcome
from router.shadow import pool
from router.shadow.compare import Answer
from router.shadow.runner import Job, NotCompared
from router.upstreams import upstream_for

logger = logging.getLogger(__name__)

SHADOW_HEADER = "X-Strangler-Shadow"
LEFT_OUT = frozenset({"accept-encoding", "if-none-match", "if-modified-since"})
"""What would make the service answer in another encoding, or not at all."""
METHODS = frozenset({"GET", "HEAD"})

GetResponse = Callable[[HttpRequest], HttpResponseBase]


def submit(exchange: Exchange, response: HttpResponseBase, get_response: GetResponse) -> None:
    """Queue the comparison of legacy's answer with the service's; never raises, never waits."""
    try:
        if exchange.request.method not in METHODS or exchange.credentials_rejected:
            return
        if (
            not isinstance(response, HttpResponse)
            or response.has_header("Content-Encoding")
            or response.status_code == 304
        ):
            _dropped(exchange, "not_comparable")
            return
        pool.submit(_job(exchange, response, get_response))
    except Exception:
        logger.exception("The comparison of %s %s could not be made", exchange.request.method, exchange.request.path)


def _job(exchange: Exchange, response: HttpResponse, get_response: GetResponse) -> Job:
    request = exchange.request
    return Job(
        service=exchange.decision.service,
        store=exchange.decision.store,
        route=exchange.route.name,
        method=request.method or "GET",
        path=raw_target(request),
        legacy=_answer(response),
        ask_service=lambda: _ask_service(exchange),
        ask_legacy=lambda: _ask_legacy(request, get_response),
    )


def _ask_service(exchange: Exchange) -> Answer:
    identity = exchange.identity
    if exchange.credentials_rejected:
        raise NotCompared("credentials_rejected")
    settings = conf()
    service = settings.service(exchange.decision.service)
    headers = [field for field in outbound_headers(exchange.request) if field[0].lower() not in LEFT_OUT]
    headers.append((IDENTITY_HEADER, issue(identity, audience=service.name, secret=service.secret)))
    headers.append((SHADOW_HEADER, "1"))
    response = send(
        upstream_for(service.name, exchange.decision.store),
        OutboundRequest(
            method=exchange.request.method or "GET",
            raw_path_qs=raw_target(exchange.request),
            headers=headers,
            deadline=monotonic() + settings.shadow.deadline_seconds,
        ),
    )
    body = response.body
    if not isinstance(body, bytes):
        body = _up_to(settings.shadow.max_bytes + 1, body)
        response.close()
    return Answer(status=response.status, content_type=response.header("Content-Type") or "", body=body)


def _up_to(size: int, parts: Any) -> bytes:
    read = bytearray()
    for part in parts:
        read += part
        if len(read) >= size:
            break
    return bytes(read)


def _ask_legacy(request: HttpRequest, get_response: GetResponse) -> Answer:
    """Ask the view once more, with a copy of the request, whose user, session and token are known already."""
    again: Any = copy.copy(request)
    again.environ = again.META
    again._stream = io.BytesIO()
    again._read_started = False
    response = get_response(again)
    try:
        if not isinstance(response, HttpResponse):
            raise NotCompared("not_comparable")
        return _answer(response)
    finally:
        response.close()


def _answer(response: HttpResponse) -> Answer:
    return Answer(
        status=response.status_code,
        content_type=response.get("Content-Type", ""),
        body=response.content,
    )


def _dropped(exchange: Exchange, cause: str) -> None:
    metrics.record(
        service=exchange.route.service,
        route=exchange.route.name,
        kind="read",
        side=pool.SIDE,
        outcome=Outcome.DROPPED,
        seconds=0.0,
        cause=cause,
    )
