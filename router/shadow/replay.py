"""Ask both sides a stored example again, now, and compare by the rules of now."""

import time
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.handlers.wsgi import WSGIRequest
from django.http import Http404, HttpResponse
from django.urls import resolve

from router.conf import conf
from router.exceptions import StranglerError
from router.forward import OutboundRequest, send
from router.identity import ANONYMOUS, Identity
from router.identity import HEADER as IDENTITY_HEADER
from router.identity.resolvers import identity_of
from router.identity.tokens import issue
from router.models.traffic import ShadowMismatch
from router.service.headers import SHADOW_HEADER
from router.shadow.applied import rules_now
from router.shadow.difference import Answer
from router.shadow.redact import REDACTED
from router.shadow.runner import LEGACY, Job, Verdict, run
from router.upstreams import upstream_for

SAFE = frozenset({"GET", "HEAD"})
SECONDS = 10.0


class CannotReplay(StranglerError):
    """What was stored is not enough to ask again; the message says what is missing."""


def replay(example: ShadowMismatch, *, user: str | None = None) -> Verdict:
    """Compare both sides once more; nothing is counted or stored.

    Legacy is asked through its view, without the middleware around it, as the client whose key was stored, or as
    ``user``.
    """
    if example.method not in SAFE:
        raise CannotReplay(f"Example {example.pk} is a {example.method}: only GET and HEAD are asked again.")
    if REDACTED in example.path:
        raise CannotReplay(f"The path of example {example.pk} was redacted: {example.path}. Ask for it by hand.")
    client = _client(example.subject if user is None else user)
    identity = identity_of(client, "session") if client.is_authenticated else ANONYMOUS

    def ask(side: str) -> Answer:
        return _ask_legacy(example, client) if side == LEGACY else _ask(example, side, identity)

    try:
        given = ask(example.answered_by)
    except CannotReplay:
        raise
    except Exception as error:
        raise CannotReplay(f"{example.answered_by} does not answer {example.path} any more: {error!r}") from error
    job = Job(
        service=example.service,
        store=example.store,
        route=example.route,
        method=example.method,
        path=example.path,
        given=given,
        ask_copy=lambda: ask(example.store),
        ask_again=lambda: ask(example.answered_by),
        answered_by=example.answered_by,
        rules=rules_now(example.service, example.route),
        ask_twice=True,
    )
    verdict = run(job, max_bytes=conf().shadow.max_bytes)
    assert isinstance(verdict, Verdict)  # only a job whose copy follows is put off
    return verdict


def _client(subject: str) -> Any:
    if not subject:
        return AnonymousUser()
    model = get_user_model()
    try:
        return model._default_manager.get(pk=subject)
    except (model.DoesNotExist, ValueError, ValidationError):
        raise CannotReplay(f"There is no user {subject!r} any more. Name another with --user.") from None


def _ask_legacy(example: ShadowMismatch, client: Any) -> Answer:
    path, _, query = example.path.partition("?")
    request: Any = WSGIRequest(
        {
            "REQUEST_METHOD": example.method,
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(),
        }
    )
    request.user = client
    try:
        found = resolve(request.path_info)
        response = found.func(request, *found.args, **found.kwargs)
    except Http404:
        return Answer(status=404, content_type="", body=b"")
    except PermissionDenied:
        return Answer(status=403, content_type="", body=b"")
    if hasattr(response, "render") and not getattr(response, "is_rendered", True):
        response.render()
    if not isinstance(response, HttpResponse):
        raise CannotReplay(f"{example.path} is answered by a {type(response).__name__}, which cannot be compared.")
    return Answer(
        status=response.status_code,
        content_type=response.get("Content-Type", ""),
        body=bytes(response.content),
        headers=tuple(response.items()),
    )


def _ask(example: ShadowMismatch, store: str, identity: Identity) -> Answer:
    settings = conf()
    upstream = upstream_for(example.service, store)
    token = issue(identity, audience=example.service, secret=settings.service(example.service).secret)
    response = send(
        upstream,
        OutboundRequest(
            method=example.method,
            raw_path_qs=example.path,
            headers=[("Host", upstream.url.netloc), (IDENTITY_HEADER, token), (SHADOW_HEADER, "1")],
            deadline=time.monotonic() + SECONDS,
        ),
    )
    try:
        body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    finally:
        response.close()
    return Answer(
        status=response.status,
        content_type=response.header("Content-Type") or "",
        body=body,
        encoding=response.header("Content-Encoding") or "",
        headers=tuple(response.headers),
    )
