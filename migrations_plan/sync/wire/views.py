"""The one view behind the five verbs. It answers JSON, whatever happens."""

import logging
from contextlib import nullcontext

from django.contrib.auth.decorators import login_not_required
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from migrations_plan.sync.conf import SETTING, SyncSettings, conf
from migrations_plan.sync.errors import Busy, NotTheOwner, SyncError, UnknownAggregate, UnknownBucket, Unloadable
from migrations_plan.sync.messages import Side
from migrations_plan.sync.wire import bodies, forms, refusals, tokens
from migrations_plan.sync.wire.refusals import Refusal
from migrations_plan.sync.wire.served import Here
from migrations_plan.sync.wire.turnstile import Turnstile
from migrations_plan.sync.wire.verbs import VERBS, Call, Verb

logger = logging.getLogger("strangler.sync")

CHUNK = 65_536
_applies = Turnstile()

REFUSALS: tuple[tuple[type[SyncError], int, str], ...] = (
    (UnknownAggregate, 404, "unknown_aggregate"),
    (UnknownBucket, 409, "unknown_bucket"),
    (NotTheOwner, 409, "not_the_owner"),
    (Unloadable, 400, "malformed"),
    (tokens.TokenRejected, 401, "token"),
)
"""How errors of ours are answered."""


@csrf_exempt
@login_not_required
def serve(request: HttpRequest, aggregate: str, verb: str) -> HttpResponse:
    """Serve one verb of one aggregate."""
    return answered(request, aggregate, verb, Here())


def answered(request: HttpRequest, aggregate: str, verb: str, side: Side) -> HttpResponse:
    """Return what ``side`` answers, or why it does not."""
    settings = conf()
    try:
        body = _answer(request, aggregate, verb, side, settings)
    except Exception as error:
        _read_away(request, settings.max_body_bytes)
        return _refused(request, _refusal_of(error, f"{verb} of {aggregate}"))
    return _response(request, 200, body)


def _answer(request: HttpRequest, aggregate: str, verb: str, side: Side, settings: SyncSettings) -> bytes:
    if request.method != "POST":
        raise Refusal(405, "method", f"{request.method} is not served: every verb is a POST.")
    if not settings.secret or not settings.audience:
        raise Refusal(
            403,
            "not_configured",
            f"Nobody is let in: {SETTING} has no SECRET and AUDIENCE to check tokens with.",
        )
    tokens.verify(
        request.headers.get("Authorization"), aggregate, verb, audience=settings.audience, secret=settings.secret
    )
    known = VERBS.get(verb)
    if known is None:
        raise Refusal(404, "unknown_verb", f"There is no verb {verb!r}. Known: {', '.join(VERBS)}.")
    with _applies.admitted(settings.max_applies) if known.limited else nullcontext():
        return _served(request, known, Call(side=side, aggregate=aggregate, settings=settings))


def _served(request: HttpRequest, verb: Verb, call: Call) -> bytes:
    body = bodies.unpack(
        _body(request, call.settings.max_body_bytes),
        request.headers.get("Content-Encoding", ""),
        call.settings.max_body_bytes,
    )
    return verb.answer(call, forms.decode(body, verb.form))


def _body(request: HttpRequest, limit: int) -> bytes:
    """Return the body as it was sent; never more of it than the limit is read."""
    length = request.headers.get("Content-Length", "")
    if not length.isdecimal():
        raise Refusal(411, "length", "Say how long the body is: Content-Length, not chunks.")
    if int(length) > limit:
        raise refusals.too_large(limit)
    try:
        body = request.read(int(length))
    except OSError as error:
        raise refusals.malformed("The caller went away before its body was read.") from error
    if len(body) < int(length):
        raise refusals.malformed(f"The body ends after {len(body)} of {length} bytes.")
    return body


def _read_away(request: HttpRequest, most: int) -> None:
    """Read what is left of a refused body: a connection closed upon unread bytes may take the answer along."""
    try:
        while most > 0 and (chunk := request.read(CHUNK)):
            most -= len(chunk)
    except OSError:
        logger.debug("The caller went away before its body was read.")


def _refusal_of(error: Exception, what: str) -> Refusal:
    """Return how an error is answered; what nobody expected is logged and not told."""
    if isinstance(error, Refusal):
        return error
    for kind, status, code in REFUSALS:
        if isinstance(error, kind):
            return Refusal(status, code, str(error))
    if isinstance(error, Busy):
        return refusals.later("busy", str(error))
    if isinstance(error, OperationalError | InterfaceError):
        logger.warning("%s: the database could not: %s", what, error)
        return refusals.later("database", f"The database could not do it now: {' '.join(str(error).split())}.")
    logger.error("%s failed.", what, exc_info=error)
    return Refusal(500, "failed", f"{type(error).__name__}; the log of this program has the rest.")


def _refused(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    response = _response(
        request, refusal.status, forms.encode(forms.ErrorAnswer(code=refusal.code, detail=refusal.detail))
    )
    if refusal.retry_after is not None:
        response["Retry-After"] = str(refusal.retry_after)
    if refusal.status == 401:
        response["WWW-Authenticate"] = "Bearer"
    if refusal.status == 405:
        response["Allow"] = "POST"
    return response


def _response(request: HttpRequest, status: int, body: bytes) -> HttpResponse:
    headers = {"Content-Type": "application/json"}
    if bodies.accepts_gzip(request.headers.get("Accept-Encoding", "")):
        body, headers = bodies.pack(body)
    return HttpResponse(body, status=status, headers={**headers, "Cache-Control": "no-store"})
