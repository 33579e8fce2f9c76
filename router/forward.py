"""Forward a request to an upstream, byte for byte; the public face of ``router.forwarding``."""

from router.conf import Timeouts
from router.forwarding.bodies import streamed_body
from router.forwarding.client import SMALL_BODY, BodyStream, send
from router.forwarding.headers import outbound_headers, raw_target
from router.forwarding.messages import (
    Ambiguous,
    BodyUnreadable,
    ForwardError,
    Headers,
    NotSent,
    OutboundRequest,
    Readable,
    Upstream,
    UpstreamResponse,
)
from router.forwarding.pool import close_all
from router.forwarding.responses import fields_of, to_django

__all__ = [
    "SMALL_BODY",
    "Ambiguous",
    "BodyStream",
    "BodyUnreadable",
    "ForwardError",
    "Headers",
    "NotSent",
    "OutboundRequest",
    "Readable",
    "Timeouts",
    "Upstream",
    "UpstreamResponse",
    "close_all",
    "fields_of",
    "outbound_headers",
    "raw_target",
    "send",
    "streamed_body",
    "to_django",
]
