"""Pay an order that is waiting for its money."""

import hashlib
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request

from legacy_shop.api_schema import IDEMPOTENCY_KEY, DetailSerializer, RefusalSerializer
from legacy_shop.api_support import ShopAPIView
from legacy_shop.orders.api_serializers import CardSerializer, OrderSerializer
from legacy_shop.payments.ledger import State
from legacy_shop.payments.services import Payment, pay_order
from router.drf import IdempotentViewMixin, as_response
from router.idempotency.claims import HEADER, Claim, Stored
from router.idempotency.guard import JSON, Outcome, encode, held_for

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
    def post(self, request: Request, order_id: int) -> Any:
        """Charge the order; without the provider's answer the payment stays open.

        The charge is opened by whoever writes the order, under a key made of the client's, and no transaction is open
        here meanwhile. If we die in between, the client's retry finds that charge and goes on with it.
        """
        card = CardSerializer(data=request.data)
        card.is_valid(raise_exception=True)
        held = held_for(request._request, scope=SCOPE, subject=str(request.user.pk))
        if isinstance(held, Stored):
            return as_response(Outcome(status=held.status, data=None, replayed=True, stored=held))
        key = None if held is None else _charge_key(request.headers[HEADER], order_id)
        payment = pay_order(order_id, card.validated_data["card"], customer=request.user, key=key)
        return as_response(_settled(held, *_answer(payment)))


def _charge_key(key: str, order_id: int) -> str:
    """Return the key of the charge: the client may use its own for something else as well."""
    return f"pay-{order_id}-{hashlib.sha256(key.encode()).hexdigest()}"


def _answer(payment: Payment) -> tuple[int, Any]:
    if payment.state == State.FAILED:
        detail = f"The card was declined: {payment.failure}."
        return status.HTTP_402_PAYMENT_REQUIRED, {"code": "declined", "detail": detail}
    return status.HTTP_200_OK, payment.order


def _settled(held: Claim | None, code: int, data: Any) -> Outcome:
    """Record the answer for those who ask again under the same key."""
    if held is not None:
        held.finish(status=code, content_type=JSON, body=encode(data))
    return Outcome(status=code, data=data, claim=held)
