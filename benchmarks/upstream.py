"""The upstream that all proxies forward to: it answers at once, with 550 bytes of JSON."""

from collections.abc import Callable, Iterable
from typing import Any

BODY = (
    b'{"count": 1, "results": [' + b", ".join(b'{"id": %d, "total": "12.34"}' % number for number in range(18)) + b"]}"
)
HEADERS = [("Content-Type", "application/json"), ("Content-Length", str(len(BODY))), ("Vary", "Cookie")]


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer every request alike."""
    start_response("200 OK", HEADERS)
    return [BODY]
