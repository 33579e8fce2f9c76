"""Ask a store of a service what a client has asked, for comparison."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from router.breaker import breaker_for
from router.conf import conf
from router.forward import Headers, OutboundRequest, UpstreamResponse, outbound_headers, raw_target, send
from router.identity import HEADER as IDENTITY_HEADER
from router.identity import Identity
from router.identity.tokens import issue
from router.service.headers import SHADOW_HEADER
from router.shadow.compare import Answer
from router.shadow.monolith import CHANGES_THE_FORM
from router.shadow.runner import ServiceFailed
from router.upstreams import upstream_for


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as a comparison asks it, of whatever store."""

    method: str
    target: str
    headers: Headers
    identity: Identity
    body: bytes = b""

    @classmethod
    def of(
        cls, source: HttpRequest | Mapping[str, Any], method: str, identity: Identity, *, body: bytes = b""
    ) -> "Asked":
        """Take it over from a request as it is now, without what asks for another form of the answer."""
        headers = [field for field in outbound_headers(source) if field[0].lower() not in CHANGES_THE_FORM]
        return cls(method=method, target=raw_target(source), headers=headers, identity=identity, body=body)


def ask(service: str, store: str, asked: Asked) -> Answer:
    """Return what a store answers to a copy, which it makes in a transaction that only reads."""
    settings = conf()
    token = issue(asked.identity, audience=service, secret=settings.service(service).secret)
    outbound = OutboundRequest(
        method=asked.method,
        raw_path_qs=asked.target,
        headers=[*asked.headers, (IDENTITY_HEADER, token), (SHADOW_HEADER, "1")],
        deadline=time.monotonic() + settings.shadow.deadline_seconds,
    )
    return read(send(upstream_for(service, store), outbound), limit=settings.shadow.max_bytes)


def guarded(service: str, store: str, asked: Asked) -> Answer:
    """Ask the store that has answered once more, without disturbing the breaker of its clients."""
    with breaker_for(upstream_for(service, store), purpose="shadow").calling():
        answer = ask(service, store, asked)
        if answer.status >= 500:
            raise ServiceFailed(answer.status)
    return answer


def read(response: UpstreamResponse, *, limit: int) -> Answer:
    """Return an answer as it came, or a little more of it than may be compared; the rest is left unread."""
    body = bytearray()
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
    )
