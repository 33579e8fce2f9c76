"""The order endpoints of the shop, answered by this service."""

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
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
)
from extracted.orders.domain.errors import Invalid, OutOfStock
from extracted.orders.domain.order import Address, Order, Status
from extracted.orders.domain.store import Wish
from extracted.orders.stores import order_store
from router.drf import IdempotentViewMixin, as_response
from router.idempotency.claims import Stored
from router.idempotency.guard import Outcome, held_for
from router.service.dryrun import not_repeatable, rehearsing, supports_dry_run
from router.service.versions import wrote

SCOPE = "orders"
PAGE = OpenApiParameter("page", int, description="From 1; 20 orders each.")
STATUS = OpenApiParameter("status", str, enum=[status.value for status in Status])
KEY = OpenApiParameter(
    "Idempotency-Key", str, OpenApiParameter.HEADER, description="The same key again gives the stored answer."
)
REFUSED = {
    409: OpenApiResponse(
        Problem,
        "The state of things does not allow it; or a request with this key is under way; or, with the header "
        "X-Strangler-Not-Owner, orders of this customer are written by the other side.",
    ),
    503: OpenApiResponse(
        Problem, "Nothing was done. The same request, with the same key, may be sent after Retry-After."
    ),
}
"""What writes are answered that cannot be done, or not now."""


class OrderView(IdempotentViewMixin, APIView):
    """What all views of a customer's own orders share."""

    def customer(self, request: Request) -> int:
        """Return the number of the customer whom the token names."""
        subject = str(request.user.pk)
        if not subject.isascii() or not subject.isdecimal():
            raise AuthenticationFailed(f"The identity token names {subject!r}, which is no customer of this shop.")
        return int(subject)

    def replayed(self, request: Request) -> Outcome | None:
        """Claim the request's idempotency key; return the stored answer of one that was answered before."""
        held = held_for(request._request, scope=SCOPE, subject=str(request.user.pk))
        if not isinstance(held, Stored):
            return None
        return Outcome(status=held.status, data=None, replayed=True, stored=held)

    def once(self, request: Request, write: Callable[[], Order], status: int = 200) -> Outcome:
        """Run ``write`` once for the request's idempotency key, in the transaction that completes the key."""

        def work() -> tuple[int, Any]:
            order = write()
            wrote(SCOPE, order.id)
            return status, order_document(order)

        return self.run_once(request, SCOPE, work)

    def followed_up(self, outcome: Outcome) -> Outcome:
        """Have done what the committed write has left to other processes, and answer the order as it then is."""
        if outcome.replayed or rehearsing() or not order_store().follow_up(outcome.data["id"]):
            return outcome
        return outcome.amend(outcome.status, order_document(order_store().staff_get(outcome.data["id"])))


@supports_dry_run(written=lambda answer: order_store().written(answer), when=lambda: order_store().rehearses)
class OrderListView(OrderView):
    """A customer's orders."""

    @extend_schema(operation_id="orders_list", parameters=[PAGE], responses={200: OrderPage, 404: Problem})
    def get(self, request: Request) -> Response:
        """Return a page of the customer's orders, newest first."""
        page = order_store().list_for(self.customer(request), request.query_params.get("page", "1"))
        return Response(page_document(page, order_document))

    @extend_schema(parameters=[KEY], request=PlaceSerializer, responses={201: OrderDocument, **REFUSED})
    def post(self, request: Request) -> Any:
        """Place an order."""
        customer = self.customer(request)
        serializer = PlaceSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        if serializer.validated_data["cart"]:
            not_repeatable("The customer's cart is empty by now: whoever has placed the order has emptied it.")
        outcome = self.replayed(request)
        if outcome is None:
            outcome = self.placed(request, serializer.wish(customer))
        return as_response(self.followed_up(outcome))

    def placed(self, request: Request, wish: Wish) -> Outcome:
        """Place the order, once."""
        try:
            with order_store().checkout(wish) as place:
                return self.once(request, place, status=201)
        except OutOfStock:
            not_repeatable("The pieces may have gone to the very order that is rehearsed.")
            raise


class OrderDetailView(OrderView):
    """One order of a customer."""

    @extend_schema(responses={200: OrderDocument, 404: Problem})
    def get(self, request: Request, order_id: int) -> Response:
        """Return the order."""
        return Response(order_document(order_store().get(self.customer(request), order_id)))


class OrderCancelView(OrderView):
    """The end of an order before it is shipped."""

    @extend_schema(parameters=[KEY], request=None, responses={200: OrderDocument, 404: Problem, **REFUSED})
    def post(self, request: Request, order_id: int) -> Any:
        """Call the order off; its stock goes back, and so does money that was charged."""
        customer = self.customer(request)
        outcome = self.once(request, lambda: order_store().cancel(customer, order_id))
        return as_response(self.followed_up(outcome))


class OrderAddressView(OrderView):
    """Where an order goes."""

    @extend_schema(parameters=[KEY], request=AddressSerializer, responses={200: OrderDocument, 404: Problem, **REFUSED})
    def patch(self, request: Request, order_id: int) -> Any:
        """Send the order elsewhere."""
        customer = self.customer(request)
        serializer = AddressSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        address = Address(**serializer.validated_data)
        return as_response(self.once(request, lambda: order_store().change_address(customer, order_id, address)))


def wanted_status(request: Request) -> Status | None:
    """Return the status to show, None for all; refuse what is none."""
    wanted = request.query_params.get("status")
    if not wanted:
        return None
    if wanted not in set(Status):
        raise Invalid("status", [f'"{wanted}" is not a valid choice.'])
    return Status(wanted)


class StaffOrderListView(APIView):
    """Everybody's orders."""

    permission_classes = (IsAdminUser,)

    @extend_schema(
        operation_id="staff_orders_list",
        parameters=[STATUS, PAGE],
        responses={200: StaffOrderPage, 404: Problem},
    )
    def get(self, request: Request) -> Response:
        """Return a page of all orders, newest first."""
        page = order_store().staff_list(wanted_status(request), request.query_params.get("page", "1"))
        return Response(page_document(page, staff_document))


class StaffOrderDetailView(APIView):
    """One order of anybody."""

    permission_classes = (IsAdminUser,)

    @extend_schema(responses={200: StaffOrderDocument, 404: Problem})
    def get(self, request: Request, order_id: int) -> Response:
        """Return the order."""
        return Response(staff_document(order_store().staff_get(order_id)))
