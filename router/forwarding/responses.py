"""Give an upstream's answer to Django without losing a header that occurs twice."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from functools import partial
from typing import Any

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.http.response import ResponseHeaders

from router.forwarding import threads
from router.forwarding.client import BodyStream
from router.forwarding.headers import OURS
from router.forwarding.messages import Headers, UpstreamResponse

SERVER_OWN = frozenset({"date", "server"})
"""The monolith's own server writes these; with the upstream's they would be there twice."""


class ForwardedHeaders(ResponseHeaders):
    """Response headers that may repeat: a mapping for middleware, every single field for the server.

    A repeated field reads as its values joined by commas (``Set-Cookie`` as its last one, since cookies can not be
    joined). Assigning or deleting one replaces all of its repetitions, as with any other header.
    """

    def __init__(self, fields: Headers) -> None:
        self._store: dict[str, tuple[str, str]] = {}
        self._repeated: dict[str, list[tuple[str, str]]] = {}
        for name, value in fields:
            lowered = name.lower()
            first = self._store.get(lowered)
            if first is None:
                self._store[lowered] = (name, value)
                continue
            self._repeated.setdefault(lowered, [first]).append((name, value))
            self._store[lowered] = (name, value if lowered == "set-cookie" else f"{first[1]}, {value}")

    def __setitem__(self, key: str, value: Any) -> None:
        self._repeated.pop(key.lower(), None)
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        self.pop(key)

    def pop(self, key: str, default: Any = None) -> Any:
        """Remove all repetitions of a field."""
        self._repeated.pop(key.lower(), None)
        return super().pop(key, default)

    def items(self) -> list[tuple[str, str]]:  # type: ignore[override]
        """Return every single field; this is what WSGI and ASGI handlers send."""
        if not self._repeated:
            return list(self._store.values())
        fields: Headers = []
        for lowered, field in self._store.items():
            fields.extend(self._repeated.get(lowered) or [field])
        return fields


class ForwardedResponse(HttpResponse):
    """A complete answer of an upstream."""

    def __init__(self, content: bytes, status: int, reason: str, fields: Headers) -> None:
        super().__init__(content, status=status, reason=reason, content_type="-")
        self.headers = ForwardedHeaders(fields)


class StreamedResponse(StreamingHttpResponse):
    """An answer that is still arriving, or one without a body whose length nobody may make up.

    Middleware sees an ordinary iterator. A server with an event loop gets the parts as they arrive all the same: one
    of the service's threads waits for each.
    """

    def __init__(self, parts: Iterable[bytes], status: int, reason: str, fields: Headers) -> None:
        super().__init__(parts, status=status, reason=reason, content_type="-")
        self.headers = ForwardedHeaders(fields)
        self._arriving = parts if isinstance(parts, BodyStream) else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the parts without holding up the event loop."""
        content: Any = self.streaming_content
        arriving = self._arriving
        if self.is_async:  # middleware has wrapped it
            async with aclosing(content) as parts:
                async for part in parts:
                    yield part
        elif arriving is None:
            for part in content:
                yield part
        else:
            following = partial(next, content, None)
            while (part := await _next_part(arriving, following)) is not None:
                yield part


async def _next_part(arriving: BodyStream, following: Callable[[], Any]) -> Any:
    """Wait for the next part; if the client hangs up meanwhile, the wait ends before the connection is closed."""
    pending = threads.run(arriving.upstream.service, following)
    try:
        return await asyncio.shield(pending)
    except asyncio.CancelledError:
        arriving.interrupt()
        await asyncio.wait({pending})
        raise


def fields_of(response: UpstreamResponse) -> Headers:
    """Return the header fields of an answer that the client gets to see."""
    return [(name, value) for name, value in response.headers if _passes(name.lower())]


def to_django(response: UpstreamResponse) -> HttpResponseBase:
    """Return the upstream's answer as a Django response, with repeated fields and cookies as they came."""
    fields = fields_of(response)
    body = response.body
    if not isinstance(body, bytes):
        return StreamedResponse(body, response.status, response.reason, fields)
    if not body and not any(name.lower() == "content-length" for name, _ in fields):
        # HEAD, 204 and 304: CommonMiddleware would add a Content-Length of 0 that the upstream did not give.
        return StreamedResponse((), response.status, response.reason, fields)
    return ForwardedResponse(body, response.status, response.reason, fields)


def _passes(lowered: str) -> bool:
    return lowered not in SERVER_OWN and not lowered.startswith(OURS)
