"""Answer errors of the toolkit in Django REST framework's way."""

from typing import Any

from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_exception_handler
from rest_framework.views import set_rollback

from router.fences import NotOwner
from router.idempotency.errors import IdempotencyError


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer idempotency errors with their status and code, everything else as REST framework does.

    What a fence has refused may be sent again; whoever stands before the view makes of it what the router understands.
    """
    if isinstance(error, NotOwner):
        set_rollback()
        return Response({"code": "not_owner", "detail": str(error)}, status=503, headers={"Retry-After": "1"})
    if isinstance(error, IdempotencyError):
        headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else None
        return Response({"code": error.code, "detail": str(error)}, status=error.status_code, headers=headers)
    return drf_exception_handler(error, context)
