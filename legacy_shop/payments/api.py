"""Pay an order that is waiting for its money."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from legacy_shop.api_schema import IDEMPOTENCY_KEY, DetailSerializer, RefusalSerializer
from legacy_shop.api_support import ShopAPIView
from legacy_shop.orders.api_serializers import CardSerializer, OrderSerializer
from legacy_shop.orders.documents import fresh_document
from legacy_shop.payments.ledger import State
from legacy_shop.payments.services import open_payment, run_attempt
from router.drf import IdempotentViewMixin, as_response

SCOPE = "payments"


class PayView(IdempotentViewMixin, ShopAPIView):
    """The payment of an order."""

    @extend_schema(
        parameters=[IDEMPOTENCY_KEY],
        request=CardSerializer,
        responses={
            200: OrderSerializer,
            402: RefusalSerializer,
            404: DetailSerializer,
            409: RefusalSerializer,
        },
    )
    def post(self, request: Request, order_id: int) -> Response:
        """Charge the order; without the provider's answer the payment stays open."""
        card = CardSerializer(data=request.data)
        card.is_valid(raise_exception=True)
        opened = []

        def work() -> tuple[int, dict[str, Any]]:
            opened.append(open_payment(order_id, card.validated_data["card"], customer=request.user))
            return status.HTTP_200_OK, fresh_document(order_id)

        outcome = self.run_once(request, SCOPE, work)
        if not outcome.replayed:
            attempt = run_attempt(opened[-1].provider_key)
            if attempt.state == State.FAILED:
                detail = f"The card was declined: {attempt.failure}."
                outcome = outcome.amend(status.HTTP_402_PAYMENT_REQUIRED, {"code": "declined", "detail": detail})
            else:
                outcome = outcome.amend(status.HTTP_200_OK, fresh_document(order_id))
        return as_response(outcome)
