"""What clients send, checked with the monolith's messages."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from extracted.orders.domain.order import Address, Payment, Status
from extracted.orders.domain.store import WantedLine, Wish


class AddressSerializer(serializers.Serializer[Any]):
    """Where a parcel goes."""

    name = serializers.CharField(max_length=120)
    street = serializers.CharField(max_length=200)
    city = serializers.CharField(max_length=100)
    postcode = serializers.CharField(max_length=20)
    country = serializers.CharField(max_length=2)


class WantedLineSerializer(serializers.Serializer[Any]):
    """A product and how many of it."""

    product = serializers.IntegerField(min_value=1)
    quantity = serializers.IntegerField(min_value=1)


class CardSerializer(serializers.Serializer[Any]):
    """The provider's token of the card to charge."""

    card = serializers.CharField(max_length=64)


@extend_schema_field(OpenApiTypes.ANY)
class AddressOrId(serializers.Field[Any, Any, Any, Any]):
    """An address, or the number of one in the customer's address book."""

    def to_internal_value(self, data: Any) -> Address | int:
        """Return the address or its number."""
        if isinstance(data, Mapping):
            serializer = AddressSerializer(data=data)
            serializer.is_valid(raise_exception=True)
            return Address(**serializer.validated_data)
        if isinstance(data, int) and not isinstance(data, bool):
            return data
        raise serializers.ValidationError(["Send an address, or the id of one of yours."])

    def to_representation(self, value: Any) -> Any:
        """Return what was given."""
        return value


class PlaceSerializer(serializers.Serializer[Any]):
    """An order as a customer asks for it."""

    lines = WantedLineSerializer(many=True, required=False, allow_empty=False)
    cart = serializers.BooleanField(required=False, default=False)
    address = AddressOrId()
    note = serializers.CharField(required=False, allow_blank=True, default="", max_length=500)
    payment = CardSerializer(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Require either lines or the cart."""
        if ("lines" in attrs) == attrs["cart"]:
            raise serializers.ValidationError({"lines": ['Send either lines or "cart": true.']})
        return attrs

    def wish(self, customer: int) -> Wish:
        """Return what the validated data asks for."""
        data = self.validated_data
        lines = None if data["cart"] else tuple(WantedLine(**line) for line in data["lines"])
        card = data["payment"]["card"] if "payment" in data else None
        return Wish(customer=customer, lines=lines, address=data["address"], note=data["note"], card=card)


class StaffQuerySerializer(serializers.Serializer[Any]):
    """What staff can filter the list of orders by."""

    status = serializers.ChoiceField(choices=[status.value for status in Status], required=False)


# --- answers, for the schema only: documents.py writes them -------------------------------------------------


class LineDocument(serializers.Serializer[Any]):
    """A line of an order."""

    product = serializers.IntegerField()
    sku = serializers.CharField()
    name = serializers.CharField()
    quantity = serializers.IntegerField()
    unit_price = serializers.DecimalField(max_digits=10, decimal_places=2)
    amount = serializers.DecimalField(max_digits=12, decimal_places=2)


class OrderDocument(serializers.Serializer[Any]):
    """An order as its customer sees it."""

    id = serializers.IntegerField()
    number = serializers.CharField()
    status = serializers.ChoiceField(choices=[status.value for status in Status])
    payment = serializers.ChoiceField(choices=[payment.value for payment in Payment])
    currency = serializers.CharField()
    total = serializers.DecimalField(max_digits=12, decimal_places=2)
    note = serializers.CharField()
    placed_at = serializers.DateTimeField()
    paid_at = serializers.DateTimeField(allow_null=True)
    closed_at = serializers.DateTimeField(allow_null=True)
    ship_to = AddressSerializer()
    lines = LineDocument(many=True)


class OrderPage(serializers.Serializer[Any]):
    """A page of a customer's orders."""

    count = serializers.IntegerField()
    page = serializers.IntegerField()
    pages = serializers.IntegerField()
    results = OrderDocument(many=True)


class StaffOrderDocument(OrderDocument):
    """An order as staff see it."""

    customer = serializers.IntegerField()


class StaffOrderPage(OrderPage):
    """A page of everybody's orders."""

    results = StaffOrderDocument(many=True)


class Problem(serializers.Serializer[Any]):
    """Why something was refused."""

    code = serializers.CharField(required=False)
    detail = serializers.CharField()
