"""Have the monolith answer a read once more, off the request path: as the same client, and with nothing written."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.contrib.messages.storage import default_storage
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone, translation

from router.conf import conf
from router.exchange import USERS
from router.service.middleware import read_only
from router.shadow.compare import Answer
from router.shadow.runner import NotCompared
from router.shadow.yielding import giving_way
from router.steps import GetResponse

KNOWN_ABOUT_THE_CLIENT = (*USERS, "_strangler_resolved_token")
"""Private attributes in which resolvers keep whom they looked up."""
CHANGES_THE_FORM = frozenset({"accept-encoding", "if-match", "if-modified-since", "if-none-match", "if-range", "range"})
"""Request headers that ask for another form of the same answer; a comparison wants the answer itself."""
NOT_COMPARED = frozenset({206, 304})
FOR_LEGACY = "strangler.for_legacy"
"""Key in the WSGI environment, which no client can set: the request is a copy, and legacy's to answer."""

Environ = dict[str, Any]


class Monolith:
    """A read as it reached the router: views and middleware may change the request on their way."""

    def __init__(self, request: HttpRequest, legacy: GetResponse) -> None:
        self._request: Any = request
        self._legacy = legacy
        self._attributes = dict(vars(request))
        self._attributes["META"] = dict(request.META)
        self._language = translation.get_language()
        self._timezone = timezone.get_current_timezone()

    def ask_again(self) -> Answer:
        """Let legacy answer the same request again, which it has answered before."""
        return self._asked(self._again())

    def ask(self) -> Answer:
        """Let legacy answer a copy of what the service has answered, without a chance to write."""
        again = self._again()
        again.META = _plain(again.META)
        vars(again).pop("headers", None)
        with reading():
            return self._asked(again)

    def _asked(self, again: HttpRequest) -> Answer:
        with translation.override(self._language), timezone.override(self._timezone), giving_way():
            response = self._legacy(again)
        return answer_of(response)

    def _again(self) -> HttpRequest:
        """Return the request as it reached the router, with what stands before it has found out, and no body."""
        request: Any = self._request
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


def ask_application(application: object, environ: Mapping[str, Any]) -> Answer:
    """Let Django answer a copy of what the service has answered ahead of it, without a chance to write."""
    if not isinstance(application, WSGIHandler):
        raise NotCompared("no_monolith", f"{application!r} is not Django's own application")
    copied = {**_plain(environ), "wsgi.input": io.BytesIO(), FOR_LEGACY: True}
    with reading(), giving_way():
        return answer_of(application.get_response(application.request_class(copied)))


def answer_of(response: HttpResponseBase) -> Answer:
    """Return what legacy answered as a comparison wants it; raise NotCompared for what cannot be compared."""
    if not isinstance(response, HttpResponse):
        response.close()
        raise NotCompared("streamed", f"a {type(response).__name__} cannot be compared")
    if response.status_code in NOT_COMPARED:
        raise NotCompared("other_form", f"the answer is a {response.status_code}")
    return Answer(
        status=response.status_code,
        content_type=response.get("Content-Type", ""),
        body=response.content,
        encoding=response.get("Content-Encoding", ""),
        headers=tuple(response.items()),
    )


@contextmanager
def reading() -> Iterator[None]:
    """Let nothing be written, and no statement take longer than a shadow request may (on PostgreSQL)."""
    milliseconds = int(conf().shadow.deadline_seconds * 1000)
    with read_only():
        for connection in connections.all(initialized_only=True):
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{milliseconds}ms"])
        yield


def _plain(environ: Mapping[str, Any]) -> Environ:
    """Return the environment without what asks for another form of the answer."""
    return {
        key: value
        for key, value in environ.items()
        if not (key.startswith("HTTP_") and key[5:].replace("_", "-").lower() in CHANGES_THE_FORM)
    }
