"""Ask a store of a service what a client has asked, for comparison."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from router.breaker import breaker_for
from router.conf import conf
from router.forward import Headers, OutboundRequest, UpstreamResponse, outbound_headers, raw_target, send
from router.idempotency.claims import HEADER as KEY_HEADER
from router.identity import HEADER as IDENTITY_HEADER
from router.identity import Identity
from router.identity.tokens import issue
from router.service.dryrun import ABLE, ASK, DO, DONE, REFUSED, audience
from router.service.headers import DRY_RUN_HEADER, GIVEN_HEADER, NOT_OWNER_HEADER, SHADOW_HEADER
from router.shadow.compare import Answer
from router.shadow.monolith import CHANGES_THE_FORM
from router.shadow.runner import NotCompared, ServiceFailed
from router.upstreams import upstream_for

MOST_OF_AN_ENVELOPE = 3
"""So many times longer than an answer that may be compared, an envelope with one in it may be."""
MOST_OF_A_CODE = 40


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


def could_rehearse(service: str, store: str, asked: Asked) -> bool:
    """Return whether the store says that it would do a dry-run of the request; the question itself does nothing."""
    response = _rehearsed(service, store, asked, said=ASK)
    said = response.header(DRY_RUN_HEADER)
    if said is None and response.status >= 500:
        raise ServiceFailed(response.status)
    return said == ABLE


def rehearse(service: str, store: str, asked: Asked, *, given: int) -> Answer:
    """Return the envelope of what a store would answer to a write; raise NotCompared where it does no dry-run.

    ``given`` is the status that legacy has answered.
    """
    response = _rehearsed(service, store, asked, said=DO, given=given)
    said = response.header(DRY_RUN_HEADER)
    # An envelope holds more than the answer: base64, and what would have been written.
    answer = read(response, limit=MOST_OF_AN_ENVELOPE * conf().shadow.max_bytes)
    if said == DONE:
        return answer
    if said == REFUSED:
        raise NotCompared(f"dry_run_{_code(answer)}")
    if response.header(NOT_OWNER_HEADER) is not None:
        raise NotCompared("dry_run_not_owner")
    if answer.status >= 500:
        raise ServiceFailed(answer.status)
    raise NotCompared("dry_run_unsupported")


def _rehearsed(service: str, store: str, asked: Asked, *, said: str, given: int = 0) -> UpstreamResponse:
    settings = conf()
    token = issue(asked.identity, audience=audience(service), secret=settings.service(service).secret)
    headers = [field for field in asked.headers if field[0].lower() != KEY_HEADER.lower()]
    outbound = OutboundRequest(
        method=asked.method if said == DO else "OPTIONS",
        raw_path_qs=asked.target,
        headers=[*headers, (IDENTITY_HEADER, token), (DRY_RUN_HEADER, said), (GIVEN_HEADER, str(given))],
        body=asked.body if said == DO else b"",
        deadline=time.monotonic() + settings.shadow.deadline_seconds,
    )
    response = send(upstream_for(service, store), outbound)
    if said == ASK:
        response.close()
    return response


def _code(answer: Answer) -> str:
    try:
        code = json.loads(answer.body)["code"]
    except (ValueError, KeyError, TypeError):
        return "refused"
    return code if isinstance(code, str) and code.isidentifier() and len(code) <= MOST_OF_A_CODE else "refused"


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
        headers=tuple(response.headers),
    )
