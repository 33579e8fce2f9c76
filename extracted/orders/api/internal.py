"""What only the monolith may ask: it vouches for nobody there and speaks for itself."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from extracted.orders.api.documents import order_document, sold_line_document
from extracted.orders.api.serializers import (
    CardSerializer,
    ChargeDocument,
    ExpireSerializer,
    ExpiryDocument,
    PaidSerializer,
    Problem,
    ResumedDocument,
    ResumeSerializer,
    SettledDocument,
    SoldLinesPage,
    SoldLinesQuery,
    StandingDocument,
)
from extracted.orders.api.views import KEY, REFUSED, SCOPE, OrderView
from extracted.orders.domain.order import Order
from extracted.orders.stores import order_store
from router.drf import IdempotentViewMixin, as_response
from router.service.versions import wrote


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

    @extend_schema(parameters=[KEY], request=PaidSerializer, responses={200: StandingDocument, 404: Problem, **REFUSED})
    def post(self, request: Request, order_id: int) -> Any:
        """Mark the order paid if it waits for money, and answer how it stands."""
        serializer = PaidSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)

        def work() -> tuple[int, Any]:
            standing = order_store().mark_paid(order_id, serializer.validated_data["paid_at"])
            wrote(SCOPE, order_id)
            return 200, {"status": standing.value}

        return as_response(self.run_once(request, SCOPE, work))


class ExpireView(InternalView):
    """The end of an order that nobody paid for."""

    @extend_schema(parameters=[KEY], request=ExpireSerializer, responses={200: ExpiryDocument, 404: Problem, **REFUSED})
    def post(self, request: Request, order_id: int) -> Any:
        """Give the order up if it is older and nobody has paid or is about to."""
        serializer = ExpireSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)

        def work() -> tuple[int, Any]:
            expiry = order_store().expire(order_id, serializer.validated_data["placed_before"])
            return 200, {"expired": expiry.expired, "pieces": expiry.pieces}

        return as_response(self.run_once(request, SCOPE, work))


class ChargeView(OrderView):
    """The charge of an order, which the monolith asks for in the name of its customer."""

    permission_classes = (IsMonolith,)

    @extend_schema(parameters=[KEY], request=CardSerializer, responses={200: ChargeDocument, 404: Problem, **REFUSED})
    def post(self, request: Request, order_id: int) -> Any:
        """Open the charge and run it; it comes back open if the provider gave no answer."""
        customer = self.customer(request)
        card = CardSerializer(data=request.data)
        card.is_valid(raise_exception=True)
        opened: list[UUID] = []

        def work() -> tuple[int, Any]:
            opened.append(order_store().open_charge(customer, order_id, card.validated_data["card"]))
            wrote(SCOPE, order_id)
            return 200, charge_document(order_store().get(customer, order_id), opened[-1])

        outcome = self.run_once(request, SCOPE, work)
        if not outcome.replayed and order_store().follow_up(order_id):
            outcome = outcome.amend(200, charge_document(order_store().get(customer, order_id), opened[-1]))
        return as_response(outcome)


def charge_document(order: Order, key: UUID) -> dict[str, Any]:
    """Return an order and how one of its charges stands."""
    charge = next(attempt for attempt in order.attempts if attempt.provider_key == key)
    return {
        "order": order_document(order),
        "key": str(key),
        "state": charge.state.value,
        "failure": charge.failure,
    }


class SettleView(InternalView):
    """What is open of an order."""

    @extend_schema(request=None, responses={200: SettledDocument, 404: Problem})
    def post(self, request: Request, order_id: int) -> Response:
        """Settle it as far as the provider can be asked now, and answer how many attempts are still open."""
        order_store().follow_up(order_id)
        return Response({"open": len(order_store().staff_get(order_id).due)})


class ResumeView(InternalView):
    """What somebody has left unfinished."""

    @extend_schema(request=ResumeSerializer, responses={200: ResumedDocument})
    def post(self, request: Request) -> Response:
        """Go on with sagas, and settle attempts, whose processes have died or could not finish them."""
        given = ResumeSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        return Response(vars(order_store().resume(given.validated_data["limit"])))


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
