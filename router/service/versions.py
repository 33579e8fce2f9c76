"""Tell the router which versions a request has written, so that its client reads nothing older.

A view says what it wrote; the middleware adds the versions, which ``migrations_plan.sync`` knows, once they are
committed. See docs/cutover.md, "Reading what one has written".
"""

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from urllib.parse import quote, unquote

from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from router.service.conf import conf
from router.service.headers import WROTE_HEADER

GetResponse = Callable[[HttpRequest], HttpResponse]
Written = tuple[str, str]
"""An aggregate's name, and the key of one of them as text."""
Versions = Mapping[Written, int]

MOST = 16
"""Versions told of one request, and remembered of one client: the latest."""

_written: ContextVar[dict[Written, None] | None] = ContextVar("strangler_written", default=None)


def wrote(aggregate: str, key: object) -> None:
    """Say that the request being answered has written an aggregate; outside of a request it means nothing."""
    written = _written.get()
    if written is not None:
        written.pop((aggregate, str(key)), None)
        written[aggregate, str(key)] = None


class WrittenVersionsMiddleware:
    """Name the versions of what a view ``wrote`` in a header for the router, which no client gets to see.

    Does nothing where STRANGLER_SERVICE has no VERSIONS: a service on the monolith's database writes the only copy.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, and add the header to what was done."""
        source = conf().versions
        if not source or request.method in {"GET", "HEAD", "OPTIONS"}:
            return self.get_response(request)
        token = _written.set({})
        try:
            response = self.get_response(request)
            written = list(_written.get() or ())[-MOST:]
        finally:
            _written.reset(token)
        if written and response.status_code < 400:
            find: Callable[[Iterable[Written]], Versions] = import_string(source)
            versions = find(written)
            if versions:
                response.headers[WROTE_HEADER] = spelled(versions)
        return response


def spelled(versions: Versions) -> str:
    """Return versions as the header has them: ``orders:17:3,orders:18:1``, names and keys quoted."""
    return ",".join(f"{quote(name, safe='')}:{quote(key, safe='')}:{gen}" for (name, key), gen in versions.items())


def read(header: str) -> Versions:
    """Return the versions that a header names; what is not spelled as it should be is left out."""
    found: dict[Written, int] = {}
    for one in header.split(","):
        name, _, rest = one.strip().partition(":")
        key, _, gen = rest.partition(":")
        if name and gen.isascii() and gen.isdecimal():
            found[unquote(name), unquote(key)] = int(gen)
    return found
