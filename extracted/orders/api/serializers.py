"""What clients send, checked with the monolith's messages."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from extracted.orders.domain.order import Address, AttemptState, Payment, Status
from extracted.orders.domain.store import WantedLine, Wish

HIGHEST_ID = 2**63 - 1


class AddressSerializer(serializers.Serializer[Any]):
    """Where a parcel goes."""

    name = serializers.CharField(max_length=120)
    street = serializers.CharField(max_length=200)
    city = serializers.CharField(max_length=100)
    postcode = serializers.CharField(max_length=20)
    country = serializers.CharField(min_length=2, max_length=2)


class WantedLineSerializer(serializers.Serializer[Any]):
    """A product and how many of it."""

    product = serializers.IntegerField(min_value=1, max_value=HIGHEST_ID)
    quantity = serializers.IntegerField(min_value=1, max_value=999)


class CardSerializer(serializers.Serializer[Any]):
    """The provider's token of the card to charge."""

    card = serializers.CharField(max_length=64)


@extend_schema_field(
    {
        "oneOf": [
            {"type": "integer", "description": "One of the customer's addresses."},
            {
                "type": "object",
                "properties": {name: {"type": "string"} for name in AddressSerializer().fields},
                "required": list(AddressSerializer().fields),
            },
        ]
    }
)
class AddressChoiceField(serializers.Field[Any, Any, Any, Any]):
    """The id of an entry of the customer's address book, or an address."""

    def to_internal_value(self, data: Any) -> Address | int:
        """Return the id, or the checked address."""
        if isinstance(data, int) and not isinstance(data, bool) and 0 < data <= HIGHEST_ID:
            return data
        if not isinstance(data, dict):
            raise serializers.ValidationError("Give the id of one of your addresses, or an address.")
        serializer = AddressSerializer(data=data)
        serializer.is_valid(raise_exception=True)
        return Address(**serializer.validated_data)

    def to_representation(self, value: Any) -> Any:
        """Return what was given."""
        return value


class PlaceSerializer(serializers.Serializer[Any]):
    """An order as a customer asks for it."""

    lines = WantedLineSerializer(many=True, required=False, allow_empty=False, max_length=50)  # type: ignore[call-arg]
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

    def wish(self, customer: int) -> Wish:
        """Return what the validated data asks for."""
        data = self.validated_data
        lines = None if data["cart"] else tuple(WantedLine(**line) for line in data["lines"])
        card = data["payment"]["card"] if data["payment"] else None
        return Wish(
            customer=customer,
            lines=lines,
            address=data["address"],
            note=data["note"],
            card=card,
            expected_total=data["expected_total"],
        )


class PaidSerializer(serializers.Serializer[Any]):
    """When the money arrived."""

    paid_at = serializers.DateTimeField()


class ExpireSerializer(serializers.Serializer[Any]):
    """How old an unpaid order has to be."""

    placed_before = serializers.DateTimeField()


class ResumeSerializer(serializers.Serializer[Any]):
    """How much to go on with."""

    limit = serializers.IntegerField(min_value=1, max_value=500, default=50)


class SoldLinesQuery(serializers.Serializer[Any]):
    """Where a page of sold lines begins, and how long it is."""

    after = serializers.IntegerField(min_value=0, max_value=HIGHEST_ID, default=0)
    limit = serializers.IntegerField(min_value=1, max_value=5000, default=1000)


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


class StandingDocument(serializers.Serializer[Any]):
    """How an order stands."""

    status = serializers.ChoiceField(choices=[status.value for status in Status])


class ExpiryDocument(serializers.Serializer[Any]):
    """What became of an order that was to expire."""

    expired = serializers.BooleanField()
    pieces = serializers.IntegerField()


class ChargeDocument(serializers.Serializer[Any]):
    """An order, and how the charge that was asked for stands."""

    order = OrderDocument()
    key = serializers.UUIDField()
    state = serializers.ChoiceField(choices=[state.value for state in AttemptState])
    failure = serializers.CharField()


class SettledDocument(serializers.Serializer[Any]):
    """What is left open of an order's payments."""

    open = serializers.IntegerField()


class ResumedDocument(serializers.Serializer[Any]):
    """What was done about work that was left unfinished."""

    sagas = serializers.IntegerField()
    finished = serializers.IntegerField()
    attempts = serializers.IntegerField()
    settled = serializers.IntegerField()


class SoldLineDocument(serializers.Serializer[Any]):
    """A line of a paid order."""

    line = serializers.IntegerField()
    order = serializers.IntegerField()
    customer = serializers.IntegerField()
    paid_at = serializers.DateTimeField()
    product = serializers.IntegerField()
    quantity = serializers.IntegerField()
    amount = serializers.DecimalField(max_digits=12, decimal_places=2)
    address = serializers.IntegerField(allow_null=True)
    city = serializers.CharField()
    refunded = serializers.BooleanField()


class SoldLinesPage(serializers.Serializer[Any]):
    """A page of sold lines."""

    results = SoldLineDocument(many=True)
    next = serializers.IntegerField(allow_null=True)


class Problem(serializers.Serializer[Any]):
    """Why something was refused."""

    code = serializers.CharField(required=False)
    detail = serializers.CharField()
