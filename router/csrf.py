"""Check Django's CSRF token before a request is forwarded.

Django checks it in ``process_view``, which a forwarded request never reaches; REST framework checks it in its session
authentication, inside a view that is never called. So the router asks Django's own middleware, and asks it in the
cases in which the legacy view would have been protected.
"""

import copy
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.middleware.csrf import CsrfViewMiddleware
from django.urls import Resolver404, resolve
from django.utils.module_loading import import_string

from router.identity import Identity

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class _Check(CsrfViewMiddleware):
    """Django's own check, which says why it refuses instead of answering."""

    def _reject(self, request: HttpRequest, reason: str) -> str:
        return reason


def refusal(request: HttpRequest, identity: Identity, *, keep_body: bool = True) -> HttpResponse | None:
    """Return the 403 that an unsafe request deserves for want of a CSRF token, or None if it may go on.

    Without ``keep_body`` the body is left unread, and a token among the fields of a form is not seen.
    """
    if request.method in SAFE_METHODS or not _is_protected(request, identity):
        return None
    check = _Check(lambda _: HttpResponse())
    readable = _with_body(request) if keep_body else _without_form(request)
    check.process_request(readable)
    reason: Any = check.process_view(readable, _nothing, (), {})
    if reason is None:
        return None
    if request.content_type == "application/json" or request.accepts("application/json"):
        return JsonResponse({"detail": f"CSRF Failed: {reason}"}, status=403)
    failure_view = import_string(settings.CSRF_FAILURE_VIEW)
    response: HttpResponse = failure_view(request, reason=reason)
    return response


def _is_protected(request: HttpRequest, identity: Identity) -> bool:
    """Whether legacy would check: always for a session's cookie, and wherever the view is not exempt."""
    if getattr(request, "_dont_enforce_csrf_checks", False):
        return False
    if identity.kind == "session":
        return True
    try:
        view = resolve(request.path_info, getattr(request, "urlconf", None)).func
    except Resolver404:
        return True
    return not getattr(view, "csrf_exempt", False)


def _with_body(request: HttpRequest) -> HttpRequest:
    """Read the body before the fields of a form are looked at, which would use up what is to be forwarded."""
    _ = request.body
    return request


def _without_form(request: HttpRequest) -> HttpRequest:
    """Return the same request as if it had no form, so that looking for one leaves the body where it is."""
    formless: Any = copy.copy(request)
    formless._post = QueryDict()
    return formless  # type: ignore[no-any-return]


def _nothing(request: HttpRequest) -> HttpResponse:
    """Stand in for the view, which is never called."""
    return HttpResponse()
