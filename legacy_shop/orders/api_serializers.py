"""Shapes of the orders API: what requests may say, and what answers are documented to look like."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from legacy_shop.accounts.api_serializers import ShipToSerializer
from legacy_shop.orders.models import Order

HIGHEST_ID = 2**63 - 1
PAYMENTS = ("none", "open", "paid", "failed", "refunding", "refunded")


class WantedLineSerializer(serializers.Serializer):
    """A product and how many of it."""

    product = serializers.IntegerField(min_value=1, max_value=HIGHEST_ID)
    quantity = serializers.IntegerField(min_value=1, max_value=999)


class CardSerializer(serializers.Serializer):
    """The provider's token of a card, never its number."""

    card = serializers.CharField(max_length=64)


@extend_schema_field(
    {
        "oneOf": [
            {"type": "integer", "description": "One of the customer's addresses."},
            {
                "type": "object",
                "properties": {name: {"type": "string"} for name in ShipToSerializer().fields},
                "required": list(ShipToSerializer().fields),
            },
        ]
    }
)
class AddressChoiceField(serializers.Field):
    """The id of an entry of the address book, or an address."""

    default_error_messages: ClassVar[dict[str, str]] = {
        "neither": "Give the id of one of your addresses, or an address."
    }

    def to_internal_value(self, data: Any) -> int | dict[str, str]:
        """Return the id, or the checked address."""
        if isinstance(data, int) and not isinstance(data, bool) and 0 < data <= HIGHEST_ID:
            return data
        if not isinstance(data, dict):
            self.fail("neither")
        address = ShipToSerializer(data=data)
        address.is_valid(raise_exception=True)
        return dict(address.validated_data)

    def to_representation(self, value: Any) -> Any:
        """Return what was given."""
        return value


class PlaceOrderSerializer(serializers.Serializer):
    """What to order, where to send it, and perhaps how to pay."""

    lines = WantedLineSerializer(many=True, required=False, allow_empty=False, max_length=50)
    cart = serializers.BooleanField(required=False, default=False)
    address = AddressChoiceField()
    note = serializers.CharField(required=False, default="", allow_blank=True, max_length=500)
    payment = CardSerializer(required=False, allow_null=True, default=None)
    expected_total = serializers.DecimalField(
        max_digits=12, decimal_places=2, required=False, allow_null=True, default=None
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse an order of nothing, and one of two things."""
        if attrs["cart"] and "lines" in attrs:
            raise serializers.ValidationError({"lines": ["Give either lines or cart, not both."]})
        if not attrs["cart"] and "lines" not in attrs:
            raise serializers.ValidationError({"lines": ["This field is required."]})
        return attrs


class OrderLineSerializer(serializers.Serializer):
    """A line of an order, with name and price as they were."""

    product = serializers.IntegerField()
    sku = serializers.CharField()
    name = serializers.CharField()
    quantity = serializers.IntegerField()
    unit_price = serializers.DecimalField(max_digits=10, decimal_places=2)
    amount = serializers.DecimalField(max_digits=12, decimal_places=2)


class OrderSerializer(serializers.Serializer):
    """The document of an order; ``legacy_shop.orders.documents`` makes it."""

    id = serializers.IntegerField()
    number = serializers.CharField()
    status = serializers.ChoiceField(choices=[str(label) for label in Order.Status.labels])
    payment = serializers.ChoiceField(choices=PAYMENTS)
    currency = serializers.CharField()
    total = serializers.DecimalField(max_digits=12, decimal_places=2)
    note = serializers.CharField()
    placed_at = serializers.DateTimeField()
    paid_at = serializers.DateTimeField(allow_null=True)
    closed_at = serializers.DateTimeField(allow_null=True)
    ship_to = ShipToSerializer()
    lines = OrderLineSerializer(many=True)


class StaffOrderSerializer(OrderSerializer):
    """The document of an order that also says whose it is."""

    customer = serializers.IntegerField()
