"""Hand the own store's events over to the monolith, whose worker hands them on: this service runs no worker.

The monolith says what it has received and is given what is due. What it does not say it has received is due again a
while later, so an answer that gets lost costs nothing but time.
"""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from extracted.orders.api.internal import InternalView
from migrations_plan.sync.events import outbox
from migrations_plan.sync.events.conf import conf
from migrations_plan.sync.events.envelopes import Envelope


class TakeSerializer(serializers.Serializer[Any]):
    """Who takes events, which ones it has by now, and how many it takes."""

    consumer = serializers.ChoiceField(choices=("shop",))
    received = serializers.ListField(child=serializers.UUIDField(), default=list, max_length=500)  # type: ignore[arg-type]
    limit = serializers.IntegerField(min_value=1, max_value=500, default=100)


class TakenDocument(serializers.Serializer[Any]):
    """Events, in the order of their commits within each order."""

    events = serializers.ListField(child=serializers.DictField())


class TakeView(InternalView):
    """What happened to orders."""

    @extend_schema(request=TakeSerializer, responses={200: TakenDocument})
    def post(self, request: Request) -> Response:
        """Note what was received, and give out what is due."""
        given = TakeSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        data = given.validated_data
        if data["received"]:
            outbox.acknowledge(data["received"], data["consumer"])
        return Response({"events": _due(data["limit"])})


def _due(limit: int) -> list[dict[str, Any]]:
    while outbox.fan_out():
        pass
    stream = conf().stream
    return [
        Envelope.of(delivery.event, stream=stream, after={delivery.consumer: delivery.after}).as_json()
        for delivery in outbox.claim_due(limit)
    ]
