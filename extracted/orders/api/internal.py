"""What only the monolith may ask: it vouches for nobody there and speaks for itself."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from extracted.orders.api.documents import sold_line_document
from extracted.orders.api.serializers import (
    ExpireSerializer,
    ExpiryDocument,
    PaidSerializer,
    Problem,
    SoldLinesPage,
    SoldLinesQuery,
    StandingDocument,
)
from extracted.orders.api.views import KEY, SCOPE
from extracted.orders.stores import order_store
from router.drf import IdempotentViewMixin, as_response


class IsMonolith(BasePermission):
    """Let in who asks as a program, not as somebody's client."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Return whether the identity is a program's."""
        return request.auth is not None and request.auth.kind == "service"


class InternalView(IdempotentViewMixin, APIView):
    """What internal views share."""

    permission_classes = (IsMonolith,)


class PaidView(InternalView):
    """The arrival of an order's money."""

    @extend_schema(parameters=[KEY], request=PaidSerializer, responses={200: StandingDocument, 404: Problem})
    def post(self, request: Request, order_id: int) -> Any:
        """Mark the order paid if it waits for money, and answer how it stands."""
        serializer = PaidSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)

        def work() -> tuple[int, Any]:
            return 200, {"status": order_store().mark_paid(order_id, serializer.validated_data["paid_at"]).value}

        return as_response(self.run_once(request, SCOPE, work))


class ExpireView(InternalView):
    """The end of an order that nobody paid for."""

    @extend_schema(parameters=[KEY], request=ExpireSerializer, responses={200: ExpiryDocument, 404: Problem})
    def post(self, request: Request, order_id: int) -> Any:
        """Give the order up if it is older and nobody has paid or is about to."""
        serializer = ExpireSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)

        def work() -> tuple[int, Any]:
            expiry = order_store().expire(order_id, serializer.validated_data["placed_before"])
            return 200, {"expired": expiry.expired, "pieces": expiry.pieces}

        return as_response(self.run_once(request, SCOPE, work))


class SoldLinesView(InternalView):
    """What was sold."""

    @extend_schema(parameters=[SoldLinesQuery], responses={200: SoldLinesPage})
    def get(self, request: Request) -> Response:
        """Return a page of the lines of paid orders, and the line after which the next page begins."""
        query = SoldLinesQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        limit = query.validated_data["limit"]
        lines = order_store().sold_lines(query.validated_data["after"], limit)
        following = lines[-1].line if len(lines) == limit else None
        return Response({"results": [sold_line_document(line) for line in lines], "next": following})
