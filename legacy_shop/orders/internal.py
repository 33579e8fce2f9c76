"""What the orders service asks of the monolith's stock, on the listener that only services can reach."""

import json
from typing import Any
from uuid import UUID

from django.http import HttpRequest, JsonResponse
from rest_framework import serializers

from legacy_shop.errors import Refused
from legacy_shop.internal import for_services
from legacy_shop.orders import reservations
from legacy_shop.orders.api_serializers import HIGHEST_ID, AddressChoiceField, WantedLineSerializer
from legacy_shop.orders.reservations import CartHeld, Wanted
from legacy_shop.orders.shelf import LineRequest

NO_NEWS: dict[str, Any] = {}


class ReserveSerializer(serializers.Serializer):
    """What to reserve for an order; without lines, what is in the customer's cart."""

    customer = serializers.IntegerField(min_value=1, max_value=HIGHEST_ID)
    lines = WantedLineSerializer(many=True, allow_null=True, allow_empty=False, max_length=50)
    address = AddressChoiceField()
    expected_total = serializers.DecimalField(max_digits=12, decimal_places=2, allow_null=True, default=None)


class ReturnedLineSerializer(serializers.Serializer):
    """A product and how many of it come back; old orders may have more than anybody can order today."""

    product = serializers.IntegerField(min_value=1, max_value=HIGHEST_ID)
    quantity = serializers.IntegerField(min_value=1)


class RestockSerializer(serializers.Serializer):
    """What comes back."""

    lines = ReturnedLineSerializer(many=True, allow_empty=False)


@for_services
def reserve_stock(request: HttpRequest, saga: UUID) -> JsonResponse:
    """Take pieces for an order of the service, and tell prices and address; refuse what the shop's checkout refuses."""
    given = _read(request, ReserveSerializer)
    if given is None:
        return _nonsense()
    lines = given["lines"]
    wanted = Wanted(
        customer_id=given["customer"],
        lines=None if lines is None else _requests(lines),
        address=given["address"],
        expected_total=given["expected_total"],
    )
    try:
        status, document = reservations.reserve(saga, wanted)
    except CartHeld as held:
        return JsonResponse({"code": held.code, "detail": str(held)}, status=503, headers={"Retry-After": "1"})
    except Refused as refused:
        return _refused(refused)
    return JsonResponse(document, status=status)


@for_services
def confirm_stock(request: HttpRequest, saga: UUID) -> JsonResponse:
    """Let the order have what was reserved."""
    return _ended(reservations.confirm, saga)


@for_services
def release_stock(request: HttpRequest, saga: UUID) -> JsonResponse:
    """Give back what was reserved, and refuse it if it is reserved only later."""
    return _ended(reservations.release, saga)


@for_services
def restock(request: HttpRequest, key: str) -> JsonResponse:
    """Take back the pieces of an order that was given up, once per key."""
    given = _read(request, RestockSerializer)
    if given is None:
        return _nonsense()
    reservations.restock(key, _requests(given["lines"]))
    return JsonResponse(NO_NEWS)


def _ended(end: Any, saga: UUID) -> JsonResponse:
    try:
        end(saga)
    except Refused as refused:
        return _refused(refused)
    return JsonResponse(NO_NEWS)


def _refused(error: Refused) -> JsonResponse:
    return JsonResponse({"code": error.code, "detail": str(error)}, status=409)


def _read(request: HttpRequest, form: type[serializers.Serializer]) -> dict[str, Any] | None:
    """Return the body's valid data, None if it is none: the service checks what clients say before it asks."""
    try:
        given = form(data=json.loads(request.body))
    except ValueError:
        return None
    return dict(given.validated_data) if given.is_valid() else None


def _nonsense() -> JsonResponse:
    return JsonResponse({"detail": "The body is not what this address takes."}, status=422)


def _requests(lines: list[dict[str, Any]]) -> list[LineRequest]:
    return [LineRequest(line["product"], line["quantity"]) for line in lines]
