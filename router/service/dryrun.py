"""Do a write, say what came of it, and leave nothing behind: what a copy of a write that legacy answers is done for.

A dry-run is asked for by a header, and by a token for an audience of its own: no client can ask for one, no older
service mistakes one for a request, and a dry-run whose header is lost is refused. Everything that stands after
``ServiceIdentityMiddleware`` runs in a transaction in each database of the service, which is rolled back: rows, marks
of sync, events in the outbox and ``on_commit`` work are gone with it. Only views run that say that they support it.
They must do without the outside world: opening a network connection ends the dry-run, and so does ``refuse_outside``,
which is for clients that keep their connections. Numbers taken from PostgreSQL's sequences stay used.
"""

import base64
import json
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import OperationalError, connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse

from router.exceptions import StranglerError
from router.service.conf import conf
from router.service.headers import DRY_RUN_HEADER, GIVEN_HEADER

T = TypeVar("T")
GetResponse = Callable[[HttpRequest], HttpResponse]
Written = Callable[[Mapping[str, Any]], Any]
"""Gets the answer of a write as JSON; returns the document of what it has written, or would have; None for none."""

ASK, DO = "ask", "1"
"""What the router says in the header: whether this request could be rehearsed; that it is to be."""
ABLE, DONE, REFUSED = "able", "done", "refused"
"""What the service says in it."""
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
MARK = "strangler_dry_run"
WAITED = frozenset({"55P03", "57014"})
"""SQLSTATEs of PostgreSQL: a lock was not to be had in time, a statement has taken too long."""


def audience(service: str) -> str:
    """Return whom the token of a dry-run is meant for; nobody who does not know of dry-runs believes it."""
    return f"{service}:dry-run"


class CannotRehearse(StranglerError):
    """A dry-run of this request would prove nothing, for instance since legacy has used up what it needs."""

    code = "not_repeatable"


class OutsideInDryRun(StranglerError):
    """A dry-run was about to reach another program."""

    code = "outside"


class Busy(StranglerError):
    """A dry-run would have had to wait for somebody."""

    code = "busy"


@dataclass(frozen=True, kw_only=True)
class _Support:
    """What a view says about its dry-runs."""

    written: Written | None
    when: Callable[[], bool]


@dataclass(kw_only=True)
class _Rehearsal:
    """The dry-run that is under way."""

    given: int = 200
    """What legacy has answered."""
    support: _Support | None = None
    stopped: StranglerError | None = None
    """What has made it worthless, also where the view has caught that."""


_current: ContextVar[_Rehearsal | None] = ContextVar("strangler_rehearsal", default=None)


def supports_dry_run(*, written: Written | None = None, when: Callable[[], bool] = lambda: True) -> Callable[[T], T]:
    """Mark a view, a function or a class, whose writes may be rehearsed: all that they do is in the databases.

    ``written`` makes of the answer the document that is compared with legacy's. ``when`` says whether it may be now.
    """

    def mark(view: T) -> T:
        setattr(view, MARK, _Support(written=written, when=when))
        return view

    return mark


def rehearsing() -> bool:
    """Return whether what is being done is rolled back: then nothing outside of the databases may hear of it."""
    return _current.get() is not None


def refuse_outside(what: str) -> None:
    """Raise OutsideInDryRun in a dry-run; for clients that may have a connection already. ``what`` is to be reached."""
    rehearsal = _current.get()
    if rehearsal is not None:
        error = OutsideInDryRun(f"A dry-run reaches for {what}. What goes there belongs after the commit.")
        rehearsal.stopped = error
        raise error


def not_repeatable(why: str) -> None:
    """Raise CannotRehearse in a dry-run of what legacy has done; do nothing in a request that is meant.

    For what cannot be done after legacy has: the cart is empty by then, the last piece gone. Where legacy has refused,
    nothing has changed, and the dry-run goes on.
    """
    rehearsal = _current.get()
    if rehearsal is not None and rehearsal.given < 400:
        error = CannotRehearse(why)
        rehearsal.stopped = error
        raise error


def support_of(view: Any) -> _Support | None:
    """Return what a view says about its dry-runs; a subclass has to say it anew."""
    said = getattr(view, MARK, None)
    if said is None:
        of_class = getattr(view, "view_class", None) or getattr(view, "cls", None)
        said = None if of_class is None else vars(of_class).get(MARK)
    return said if said is not None and said.when() else None


def before_view(request: HttpRequest, view: Any) -> HttpResponse | None:
    """Let only views go on that support it; answer for the others, and whoever asks whether they do."""
    rehearsal = _current.get()
    if rehearsal is None:
        return None
    rehearsal.support = support_of(view)
    if rehearsal.support is None:
        return refusal("unsupported", f"{request.path} cannot be rehearsed: its view does not say that it supports it.")
    if request.headers.get(DRY_RUN_HEADER) == ASK:
        return HttpResponse(status=204, headers={DRY_RUN_HEADER: ABLE})
    return None


def on_exception() -> HttpResponse | None:
    """Answer for a view that has ended a dry-run by an exception, which is no crash to be reported."""
    rehearsal = _current.get()
    stopped = None if rehearsal is None else rehearsal.stopped
    return None if stopped is None else refusal(getattr(stopped, "code", "stopped"), str(stopped))


def refusal(code: str, detail: str) -> HttpResponse:
    """Return the answer that nothing was rehearsed, and why."""
    return JsonResponse({"code": code, "detail": detail}, status=422, headers={DRY_RUN_HEADER: REFUSED})


def rehearse(request: HttpRequest, get_response: GetResponse) -> HttpResponse:
    """Answer a request without leaving anything behind; return what would have been, in an envelope."""
    said = request.headers.get(DRY_RUN_HEADER)
    if (request.method not in WRITES or said != DO) and (request.method != "OPTIONS" or said != ASK):
        return refusal("unsupported", f"A {request.method} with {DRY_RUN_HEADER}: {said} means nothing.")
    request.META.pop("HTTP_IDEMPOTENCY_KEY", None)  # what is rolled back has no right to an answer for good
    vars(request).pop("headers", None)
    _install()
    given = request.headers.get(GIVEN_HEADER, "")
    rehearsal = _Rehearsal(given=int(given) if given.isdecimal() else 200)
    try:
        with nullcontext() if said == ASK else _rolled_back(rehearsal):  # for a question, no view is run
            token = _current.set(rehearsal)
            try:
                return _answered(rehearsal, get_response(request))
            finally:
                _current.reset(token)
    except OperationalError:
        if rehearsal.stopped is None:
            raise
        return refusal("busy", str(rehearsal.stopped))


def _answered(rehearsal: _Rehearsal, response: HttpResponse) -> HttpResponse:
    stopped = rehearsal.stopped
    if stopped is not None:
        return refusal(getattr(stopped, "code", "stopped"), str(stopped))
    if rehearsal.support is None or response.has_header(DRY_RUN_HEADER):
        return response  # no view was reached, or it has not run
    if response.streaming:
        response.close()
        return refusal("streamed", "A stream is not read to its end in a dry-run.")
    if response.status_code < 400:
        _check_constraints()
    envelope = {
        "status": response.status_code,
        "content_type": response.get("Content-Type", ""),
        "body": base64.b64encode(response.content).decode(),
        "written": _written(rehearsal.support, response),
    }
    text = json.dumps(envelope, cls=DjangoJSONEncoder)
    return HttpResponse(text, content_type="application/json", headers={DRY_RUN_HEADER: DONE})


def _written(support: _Support, response: HttpResponse) -> Any:
    if support.written is None or response.status_code >= 400:
        return None
    try:
        answer = json.loads(response.content)
    except ValueError:
        return None
    return support.written(answer) if isinstance(answer, dict) else None


def _check_constraints() -> None:
    """Raise what only the commit would have: on PostgreSQL, constraints may wait for it."""
    for connection in connections.all(initialized_only=True):
        if connection.vendor == "postgresql":
            connection.check_constraints()


class _Impatience:
    """Take note of a statement that waited for longer than a dry-run may; what the view makes of it is no answer."""

    def __init__(self, rehearsal: _Rehearsal) -> None:
        self._rehearsal = rehearsal

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        """Execute a statement."""
        try:
            return execute(sql, params, many, context)
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) in WAITED or "locked" in str(error):
                self._rehearsal.stopped = self._rehearsal.stopped or Busy(str(error))
            raise


@contextmanager
def _rolled_back(rehearsal: _Rehearsal) -> Iterator[None]:
    """Open a transaction in each database, which waits for nobody for long, and roll all of them back."""
    with ExitStack() as stack:
        for alias in connections:
            stack.enter_context(_impatient(alias))
            stack.enter_context(connections[alias].execute_wrapper(_Impatience(rehearsal)))
            stack.enter_context(transaction.atomic(using=alias))
            _limit(alias)
        try:
            yield
        finally:
            for alias in connections:
                transaction.set_rollback(True, using=alias)


@contextmanager
def _impatient(alias: str) -> Iterator[None]:
    """On SQLite, wait for the one writer's turn only for so long."""
    connection = connections[alias]
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        before = int(cursor.fetchone()[0])
        cursor.execute(f"PRAGMA busy_timeout = {_milliseconds()}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {before}")


def _limit(alias: str) -> None:
    connection = connections[alias]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for setting in ("lock_timeout", "statement_timeout"):
                cursor.execute("SELECT set_config(%s, %s, true)", [setting, f"{_milliseconds()}ms"])


def _milliseconds() -> int:
    return int(conf().dry_run_seconds * 1000)


# --- the outside world ---------------------------------------------------------------------------------------
_installed = False


def _install() -> None:
    """Have the interpreter tell of every connection that is opened; it can not be asked to stop that again."""
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_heard)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _current.get() is not None and arguments[0].family != socket.AF_UNIX:
        refuse_outside(f"{arguments[1]}")
