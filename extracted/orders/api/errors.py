"""What a client is answered when the domain says no."""

import logging
from typing import Any

from rest_framework import status
from rest_framework.response import Response

from extracted.orders.domain.errors import Invalid, OrderNotFound, PageNotFound, Refused, ShopUnavailable
from router.drf_errors import exception_handler as toolkit_exception_handler

logger = logging.getLogger(__name__)


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Turn the domain's errors into the monolith's answers, and leave the others to the toolkit."""
    if isinstance(error, OrderNotFound | PageNotFound):
        return Response({"detail": str(error)}, status=status.HTTP_404_NOT_FOUND)
    if isinstance(error, Invalid):
        return Response({error.field: list(error.messages)}, status=status.HTTP_400_BAD_REQUEST)
    if isinstance(error, Refused):
        return Response({"code": error.code, "detail": str(error)}, status=status.HTTP_409_CONFLICT)
    if isinstance(error, ShopUnavailable):
        logger.warning("%s", error)
        return Response(
            {"code": error.code, "detail": "The shop cannot be asked now. Try again in a moment."},
            status=status.HTTP_503_SERVICE_UNAVAILABLE,
            headers={"Retry-After": str(error.retry_after)},
        )
    return toolkit_exception_handler(error, context)
