"""What the views of the JSON API share: answers to refusals, and pages."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.core.paginator import EmptyPage, PageNotAnInteger, Paginator
from django.db.models import Model, QuerySet
from rest_framework import status
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from legacy_shop.errors import Invalid, Missing, Refused
from router.seam import Unavailable

PAGE_SIZE = 20
Row = TypeVar("Row", bound=Model)


class Conflict(APIException):
    """The state of things does not allow what was asked."""

    status_code = status.HTTP_409_CONFLICT

    def __init__(self, code: str, detail: str) -> None:
        super().__init__({"code": code, "detail": detail})


class ShopAPIView(APIView):
    """A view whose services may raise the shop's own errors."""

    def handle_exception(self, exc: Exception) -> Response:
        """Answer the shop's errors with the status they deserve, everything else as REST framework does."""
        return super().handle_exception(as_api_exception(exc))


class NotNow(APIException):
    """It cannot be done now; the same request may be sent again."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE

    def __init__(self, detail: str, wait: int) -> None:
        super().__init__({"code": "unavailable", "detail": detail})
        self.wait = wait
        """Seconds, which REST framework answers as Retry-After."""


def as_api_exception(error: Exception) -> Exception:
    """Return what REST framework should answer for an error of the shop, or the error itself."""
    if isinstance(error, Invalid):
        return ValidationError({error.field: list(error.messages)})
    if isinstance(error, Missing):
        return NotFound(str(error))
    if isinstance(error, Refused):
        return Conflict(error.code, str(error))
    if isinstance(error, Unavailable):
        return NotNow(str(error), error.retry_after)
    return error


def page_document(request: Request, rows: QuerySet[Row], render: Callable[[Row], dict[str, Any]]) -> dict[str, Any]:
    """Return the page that ``?page=`` names, as every list of the API shows it; raise NotFound if there is none."""
    paginator = Paginator(rows, PAGE_SIZE)
    try:
        page = paginator.page(request.query_params.get("page", "1"))
    except (EmptyPage, PageNotAnInteger) as error:
        raise NotFound("Invalid page.") from error
    return {
        "count": paginator.count,
        "page": page.number,
        "pages": paginator.num_pages,
        "results": [render(row) for row in page.object_list],
    }
