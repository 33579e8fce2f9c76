"""Customers' orders. The orders service answers the same routes with the same bytes."""

from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from legacy_shop.accounts.api_serializers import ShipToSerializer
from legacy_shop.api_schema import IDEMPOTENCY_KEY, PAGE, DetailSerializer, RefusalSerializer, page_of
from legacy_shop.api_support import ShopAPIView, page_document
from legacy_shop.orders.api_serializers import OrderSerializer, PlaceOrderSerializer
from legacy_shop.orders.documents import fresh_document, order_document, with_parts
from legacy_shop.orders.exceptions import UnknownOrder
from legacy_shop.orders.models import Order
from legacy_shop.orders.services import ShipTo, cancel_order, change_address
from legacy_shop.orders.wishes import place_wish
from legacy_shop.payments.services import run_due_attempts
from router.drf import IdempotentViewMixin, as_response
from router.idempotency.guard import Outcome

SCOPE = "orders"
"""Whose data the idempotency keys of these routes guard; the service uses the same."""


def orders_of(customer: User) -> QuerySet[Order]:
    """Return the customer's orders with what their documents need."""
    return with_parts(Order.objects.filter(customer=customer))


def paid_up(outcome: Outcome) -> Outcome:
    """Run what the committed work left open at the provider, and answer the order as it then is."""
    if outcome.replayed:
        return outcome
    order_id = outcome.data["id"]
    run_due_attempts(order_id)
    return outcome.amend(outcome.status, fresh_document(order_id))


class OrdersView(IdempotentViewMixin, ShopAPIView):
    """The customer's orders."""

    @extend_schema(
        operation_id="orders_list",
        parameters=[PAGE],
        responses={200: page_of("OrderPage", OrderSerializer), 404: DetailSerializer},
    )
    def get(self, request: Request) -> Response:
        """List a page of orders, newest first."""
        return Response(page_document(request, orders_of(request.user), order_document))

    @extend_schema(
        parameters=[IDEMPOTENCY_KEY],
        request=PlaceOrderSerializer,
        responses={201: OrderSerializer, 409: RefusalSerializer},
    )
    def post(self, request: Request) -> Response:
        """Place an order and, with a card, charge it; without the provider's answer the payment stays open."""
        placement = PlaceOrderSerializer(data=request.data)
        placement.is_valid(raise_exception=True)
        wish = placement.validated_data

        def work() -> tuple[int, dict[str, Any]]:
            return status.HTTP_201_CREATED, order_document(place_wish(request.user, wish))

        return as_response(paid_up(self.run_once(request, SCOPE, work)))


class OrderView(ShopAPIView):
    """One order of the customer."""

    @extend_schema(responses={200: OrderSerializer, 404: DetailSerializer})
    def get(self, request: Request, order_id: int) -> Response:
        """Show the order."""
        order = orders_of(request.user).filter(pk=order_id).first()
        if order is None:
            raise UnknownOrder
        return Response(order_document(order))


class CancelView(IdempotentViewMixin, ShopAPIView):
    """Call an order off."""

    @extend_schema(
        parameters=[IDEMPOTENCY_KEY],
        request=None,
        responses={200: OrderSerializer, 404: DetailSerializer, 409: RefusalSerializer},
    )
    def post(self, request: Request, order_id: int) -> Response:
        """Cancel the order, give its stock back and refund what was charged."""

        def work() -> tuple[int, dict[str, Any]]:
            return status.HTTP_200_OK, order_document(cancel_order(order_id, customer=request.user))

        return as_response(paid_up(self.run_once(request, SCOPE, work)))


class AddressView(IdempotentViewMixin, ShopAPIView):
    """Where an order goes."""

    @extend_schema(
        parameters=[IDEMPOTENCY_KEY],
        request=ShipToSerializer,
        responses={200: OrderSerializer, 404: DetailSerializer, 409: RefusalSerializer},
    )
    def patch(self, request: Request, order_id: int) -> Response:
        """Send the order elsewhere."""
        address = ShipToSerializer(data=request.data)
        address.is_valid(raise_exception=True)
        ship_to = ShipTo(**address.validated_data)

        def work() -> tuple[int, dict[str, Any]]:
            return status.HTTP_200_OK, order_document(change_address(order_id, ship_to, customer=request.user))

        return as_response(self.run_once(request, SCOPE, work))
