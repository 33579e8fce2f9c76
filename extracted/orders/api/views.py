"""The order endpoints of the shop, answered by this service."""

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from extracted.orders.api.documents import order_document, page_document, staff_document
from extracted.orders.api.serializers import (
    AddressSerializer,
    OrderDocument,
    OrderPage,
    PlaceSerializer,
    Problem,
    StaffOrderDocument,
    StaffOrderPage,
    StaffQuerySerializer,
)
from extracted.orders.domain.order import Address, Order, Status
from extracted.orders.payments import run_attempt
from extracted.orders.stores import order_store
from router.drf import IdempotentViewMixin, as_response

SCOPE = "orders"
PAGE = OpenApiParameter("page", int, description="From 1; 20 orders each.")


class OrderView(IdempotentViewMixin, APIView):
    """What all views of a customer's own orders share."""

    def customer(self, request: Request) -> int:
        """Return the number of the customer whom the token names."""
        subject = str(request.user.pk)
        if not subject.isascii() or not subject.isdecimal():
            raise AuthenticationFailed(f"The identity token names {subject!r}, which is no customer of this shop.")
        return int(subject)

    def change(self, request: Request, write: Callable[[], Order], status: int = 200) -> Any:
        """Run ``write`` once for the request's key; then have the attempts still open run, and answer how it went."""
        written: list[Order] = []

        def work() -> tuple[int, Any]:
            written.append(write())
            return status, order_document(written[-1])

        outcome = self.run_once(request, SCOPE, work)
        for order in written:
            for provider_key in order.due:
                run_attempt(provider_key)
            if order.due:
                outcome = outcome.amend(status, order_document(order_store().get(order.customer, order.id)))
        return as_response(outcome)


class OrderListView(OrderView):
    """A customer's orders."""

    @extend_schema(operation_id="orders_list", parameters=[PAGE], responses={200: OrderPage, 404: Problem})
    def get(self, request: Request) -> Response:
        """Return a page of the customer's orders, newest first."""
        page = order_store().list_for(self.customer(request), request.query_params.get("page", "1"))
        return Response(page_document(page, order_document))

    @extend_schema(request=PlaceSerializer, responses={201: OrderDocument, 409: Problem})
    def post(self, request: Request) -> Any:
        """Place an order."""
        serializer = PlaceSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        wish = serializer.wish(self.customer(request))
        return self.change(request, lambda: order_store().place(wish), status=201)


class OrderDetailView(OrderView):
    """One order of a customer."""

    @extend_schema(responses={200: OrderDocument, 404: Problem})
    def get(self, request: Request, order_id: int) -> Response:
        """Return the order."""
        return Response(order_document(order_store().get(self.customer(request), order_id)))


class OrderCancelView(OrderView):
    """The end of an order before it is shipped."""

    @extend_schema(request=None, responses={200: OrderDocument, 404: Problem, 409: Problem})
    def post(self, request: Request, order_id: int) -> Any:
        """Call the order off; its stock goes back, and so does money that was charged."""
        customer = self.customer(request)
        return self.change(request, lambda: order_store().cancel(customer, order_id))


class OrderAddressView(OrderView):
    """Where an order goes."""

    @extend_schema(request=AddressSerializer, responses={200: OrderDocument, 404: Problem, 409: Problem})
    def patch(self, request: Request, order_id: int) -> Any:
        """Send the order elsewhere."""
        serializer = AddressSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        address, customer = Address(**serializer.validated_data), self.customer(request)
        return self.change(request, lambda: order_store().change_address(customer, order_id, address))


class StaffOrderListView(APIView):
    """Everybody's orders."""

    permission_classes = (IsAdminUser,)

    @extend_schema(
        operation_id="staff_orders_list",
        parameters=[StaffQuerySerializer, PAGE],
        responses={200: StaffOrderPage, 404: Problem},
    )
    def get(self, request: Request) -> Response:
        """Return a page of all orders, newest first."""
        query = StaffQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        status = Status(query.validated_data["status"]) if "status" in query.validated_data else None
        page = order_store().staff_list(status, request.query_params.get("page", "1"))
        return Response(page_document(page, staff_document))


class StaffOrderDetailView(APIView):
    """One order of anybody."""

    permission_classes = (IsAdminUser,)

    @extend_schema(responses={200: StaffOrderDocument, 404: Problem})
    def get(self, request: Request, order_id: int) -> Response:
        """Return the order."""
        return Response(staff_document(order_store().staff_get(order_id)))
