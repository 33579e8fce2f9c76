"""Fill a cart."""

from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from legacy_shop.api_schema import DetailSerializer
from legacy_shop.api_support import ShopAPIView
from legacy_shop.cart.services import HIGHEST_QUANTITY, lines_of, set_quantity


class QuantitySerializer(serializers.Serializer):
    """How many pieces; none takes the product out."""

    quantity = serializers.IntegerField(min_value=0, max_value=HIGHEST_QUANTITY)


class CartLineSerializer(serializers.Serializer):
    """A product in the cart, at today's price."""

    product = serializers.IntegerField()
    sku = serializers.CharField()
    name = serializers.CharField()
    quantity = serializers.IntegerField()
    unit_price = serializers.DecimalField(max_digits=10, decimal_places=2)
    amount = serializers.DecimalField(max_digits=12, decimal_places=2)


class CartSerializer(serializers.Serializer):
    """A cart as the API shows it."""

    lines = CartLineSerializer(many=True)
    total = serializers.DecimalField(max_digits=12, decimal_places=2)


def cart_document(customer: User) -> dict[str, Any]:
    """Return the customer's cart as the API shows it."""
    lines, total = [], Decimal(0)
    for line in lines_of(customer):
        amount = line.product.price * line.quantity
        total += amount
        lines.append(
            {
                "product": line.product_id,
                "sku": line.product.sku,
                "name": line.product.name,
                "quantity": line.quantity,
                "unit_price": f"{line.product.price:.2f}",
                "amount": f"{amount:.2f}",
            }
        )
    return {"lines": lines, "total": f"{total:.2f}"}


class CartView(ShopAPIView):
    """The customer's cart."""

    @extend_schema(responses=CartSerializer)
    def get(self, request: Request) -> Response:
        """Show the cart."""
        return Response(cart_document(request.user))


class CartProductView(ShopAPIView):
    """One product in the customer's cart."""

    @extend_schema(request=QuantitySerializer, responses={200: CartSerializer, 404: DetailSerializer})
    def put(self, request: Request, product_id: int) -> Response:
        """Put so many pieces into the cart and show it."""
        wanted = QuantitySerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        set_quantity(request.user, product_id, wanted.validated_data["quantity"])
        return Response(cart_document(request.user))

    @extend_schema(responses=CartSerializer)
    def delete(self, request: Request, product_id: int) -> Response:
        """Take the product out of the cart and show it."""
        set_quantity(request.user, product_id, 0)
        return Response(cart_document(request.user))
