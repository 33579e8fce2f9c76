"""Check Django's CSRF token before a request is forwarded.

Django checks it in ``process_view``, which a forwarded request never reaches; REST framework checks it in its session
authentication, inside a view that is never called. So the router asks Django's own middleware, and asks it in the
cases in which the legacy view would have been protected.
"""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.urls import Resolver404, resolve
from django.utils.module_loading import import_string

from router.identity import Identity

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class _Check(CsrfViewMiddleware):
    """Django's own check, which says why it refuses instead of answering."""

    def _reject(self, request: HttpRequest, reason: str) -> str:
        return reason


def refusal(request: HttpRequest, identity: Identity) -> HttpResponse | None:
    """Return the 403 that an unsafe request deserves for want of a CSRF token, or None if it may go on."""
    if request.method in SAFE_METHODS or not _is_protected(request, identity):
        return None
    check = _Check(lambda _: HttpResponse())
    check.process_request(request)
    reason: Any = check.process_view(request, _nothing, (), {})
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


def _nothing(request: HttpRequest) -> HttpResponse:
    """Stand in for the view, which is never called."""
    return HttpResponse()
