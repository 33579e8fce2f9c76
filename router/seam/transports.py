"""The ways a remote function's requests can go: to the service, to a comparison, to a stored answer, nowhere."""

import time

from router.breaker import breaker_for
from router.conf import conf
from router.diversion import UpstreamFailed, call
from router.forward import Headers, OutboundRequest, Upstream, UpstreamResponse, send
from router.idempotency.claims import HEADER as KEY_HEADER
from router.idempotency.claims import Stored
from router.identity import HEADER as IDENTITY_HEADER
from router.identity import Identity
from router.identity.tokens import issue
from router.seam.client import Answer, Sent, Transport
from router.service.headers import SHADOW_HEADER
from router.shadow.runner import NotCompared
from router.upstreams import upstream_for

USER_AGENT = "strangler-seam"


class Captured(Exception):
    """The request that a remote function would make; raised instead of making it."""

    def __init__(self, sent: Sent) -> None:
        super().__init__(sent.target)
        self.sent = sent


def live(service: str, store: str, identity: Identity, key: str | None = None, *, patient: bool = False) -> Transport:
    """Send to the service, under its breaker and within its deadlines; ``patient`` where nobody else may do it."""

    def transport(sent: Sent) -> Answer:
        upstream = upstream_for(service, store)
        upstream = upstream.patient if patient else upstream
        return _answer(call(upstream, _outbound(upstream, identity, sent, key)))

    return transport


def shadowing(service: str, store: str, identity: Identity) -> Transport:
    """Send a copy whose answer is only compared; the caller brings the breaker."""

    def transport(sent: Sent) -> Answer:
        upstream, limits = upstream_for(service, store), conf().shadow
        request = _outbound(upstream, identity, sent, None, shadow=True)
        response = send(upstream, request)
        if response.status >= 500:
            response.close()
            raise UpstreamFailed(response.status)
        answer = _answer(response, limit=limits.max_bytes)
        if len(answer.body) > limits.max_bytes:
            raise NotCompared("too_large")
        return answer

    return transport


def guarded(service: str, store: str, transport: Transport) -> Transport:
    """Send a copy under a breaker that the store's clients do not notice."""

    def guard(sent: Sent) -> Answer:
        with breaker_for(upstream_for(service, store), purpose="shadow").calling():
            return transport(sent)

    return guard


def replaying(stored: Stored) -> Transport:
    """Give the answer that the request was given before."""
    headers = {"content-type": stored.content_type, "idempotency-replayed": "true"}
    return lambda sent: Answer(status=stored.status, body=stored.body, headers=headers)


def capturing(sent: Sent) -> Answer:
    """Send nothing; say what would have been sent."""
    raise Captured(sent)


def _outbound(
    upstream: Upstream, identity: Identity, sent: Sent, key: str | None, *, shadow: bool = False
) -> OutboundRequest:
    settings = conf()
    service = settings.service(upstream.service)
    headers: Headers = [
        ("Host", upstream.url.netloc),
        ("Accept", "application/json"),
        ("User-Agent", USER_AGENT),
        (IDENTITY_HEADER, issue(identity, audience=service.name, secret=service.secret)),
    ]
    if sent.body:
        headers.append(("Content-Type", "application/json"))
    if key is not None:
        headers.append((KEY_HEADER, key))
    if shadow:
        headers.append((SHADOW_HEADER, "1"))
    return OutboundRequest(
        method=sent.method,
        raw_path_qs=sent.target,
        headers=headers,
        body=sent.body,
        deadline=time.monotonic() + settings.shadow.deadline_seconds if shadow else None,
    )


def _answer(response: UpstreamResponse, limit: int | None = None) -> Answer:
    """Read the answer to its end, or a little beyond the limit."""
    body = bytearray()
    try:
        for part in [response.body] if isinstance(response.body, bytes) else response.body:
            body += part
            if limit is not None and len(body) > limit:
                break
    finally:
        response.close()
    headers = {name.lower(): value for name, value in response.headers}
    return Answer(status=response.status, body=bytes(body), headers=headers)
