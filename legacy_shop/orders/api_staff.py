"""Everybody's orders, for the people behind the counter."""

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response

from legacy_shop.api_schema import PAGE, DetailSerializer, page_of
from legacy_shop.api_support import ShopAPIView, page_document
from legacy_shop.orders.api_serializers import StaffOrderSerializer
from legacy_shop.orders.documents import staff_document, with_parts
from legacy_shop.orders.exceptions import UnknownOrder
from legacy_shop.orders.models import Order

STATUSES = {str(choice.label): choice for choice in Order.Status}


class StaffOrdersView(ShopAPIView):
    """The orders of all customers."""

    permission_classes = (IsAdminUser,)

    @extend_schema(
        operation_id="staff_orders_list",
        parameters=[PAGE, OpenApiParameter("status", str, enum=list(STATUSES))],
        responses={200: page_of("StaffOrderPage", StaffOrderSerializer), 404: DetailSerializer},
    )
    def get(self, request: Request) -> Response:
        """List a page of orders, newest first."""
        orders = with_parts(Order.objects.all())
        wanted = request.query_params.get("status")
        if wanted:
            if wanted not in STATUSES:
                raise ValidationError({"status": [f'"{wanted}" is not a valid choice.']})
            orders = orders.filter(status=STATUSES[wanted])
        return Response(page_document(request, orders, staff_document))


class StaffOrderView(ShopAPIView):
    """Any customer's order."""

    permission_classes = (IsAdminUser,)

    @extend_schema(responses={200: StaffOrderSerializer, 404: DetailSerializer})
    def get(self, request: Request, order_id: int) -> Response:
        """Show the order."""
        order = with_parts(Order.objects.filter(pk=order_id)).first()
        if order is None:
            raise UnknownOrder
        return Response(staff_document(order))
