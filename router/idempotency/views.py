"""Run plain Django views once for their idempotency key."""

import functools
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.handlers.exception import response_for_exception
from django.db import connections, router, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.http.multipartparser import MultiPartParserError

from router.fences import NotOwner
from router.idempotency.claims import Claim, Stored
from router.idempotency.errors import IdempotencyError
from router.idempotency.guard import abandon, give_back, held_for, is_no_answer, kept_of, settle
from router.idempotency.models import IdempotencyKey
from router.whole import whole

View = Callable[..., HttpResponseBase]

READS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
REFUSALS = (Http404, PermissionDenied, SuspiciousOperation, BadRequest, MultiPartParserError)
"""What Django answers with a status of 400 to 404: the view has refused, and did nothing."""


def once(scope: str) -> Callable[[View], View]:
    """Let a view take effect once per idempotency key and user; ``scope`` is the service's name.

    For functions as it stands, for classes as ``@method_decorator(once("orders"), name="dispatch")``. The view runs in
    one transaction with the completion of its key, whether or not the project has ``ATOMIC_REQUESTS``; a key seen
    before gives the stored answer (status, type, body and Location), and the view is not called. An exception or a
    server error rolls everything back. Calls to other processes do not belong in such a view: use
    ``router.idempotency.guard.run_once`` and make them after it.
    """

    def decorate(view: View) -> View:
        if iscoroutinefunction(view):
            raise TypeError(f"{view} is async, and Django's transactions are not. Decorate a view that is not.")

        @functools.wraps(view)
        def run(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            work = functools.partial(view, request, *args, **kwargs)
            if request.method in READS:
                with _atomic(_as_configured()):
                    return work()
            return _run_once(request, scope, work)

        for alias in connections:  # a claim has to be committed before the work
            transaction.non_atomic_requests(using=alias)(run)
        return run

    return decorate


def _run_once(request: HttpRequest, scope: str, work: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    user = getattr(request, "user", None)
    subject = str(user.pk) if user is not None and user.is_authenticated else ""
    try:
        held = held_for(request, scope=scope, subject=subject)
        if isinstance(held, Stored):
            return HttpResponse(held.body, status=held.status, content_type=held.content_type, headers=held.headers)
        response = _work(request, held, work)
    except IdempotencyError as error:
        return _refused(error)
    settle(request, response)  # what was refused, or is to be tried again
    return response


def _work(request: HttpRequest, held: Claim | None, work: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    own = router.db_for_write(IdempotencyKey)
    try:
        with _atomic([own, *(alias for alias in _as_configured() if alias != own)]):
            response: Any = whole(functools.partial(_rendered, work))
            if is_no_answer(response):
                raise _Failed(response)
            if held is not None:
                held.complete(**kept_of(response))
    except _Failed as failed:
        return failed.response
    except REFUSALS as refusal:
        return response_for_exception(request, refusal)
    except IdempotencyError:
        raise
    except NotOwner:
        give_back(held)
        raise
    except Exception:
        abandon(held)
        raise
    return response  # type: ignore[no-any-return]


def _rendered(work: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    response: Any = work()
    return response.render() if callable(getattr(response, "render", None)) else response  # type: ignore[no-any-return]


class _Failed(Exception):
    """Roll back, and answer this all the same."""

    def __init__(self, response: HttpResponseBase) -> None:
        super().__init__(response.status_code)
        self.response = response


def _as_configured() -> list[str]:
    """Return the databases in which the project wants a transaction around every view."""
    return [alias for alias, values in connections.settings.items() if values["ATOMIC_REQUESTS"]]


def _atomic(aliases: list[str]) -> ExitStack:
    """Return transactions around one another; the last one given commits first."""
    with ExitStack() as stack:
        for alias in aliases:
            stack.enter_context(transaction.atomic(using=alias))
        return stack.pop_all()


def _refused(error: IdempotencyError) -> HttpResponse:
    response = JsonResponse({"code": error.code, "detail": str(error)}, status=error.status_code)
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    return response
