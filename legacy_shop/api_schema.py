"""Shapes of the JSON API that more than one app documents in its OpenAPI schema."""

from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework import serializers

PAGE = OpenApiParameter("page", int, description="Counted from 1, 20 a page.")
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key", str, OpenApiParameter.HEADER, description="The same key again gives the stored answer."
)


class DetailSerializer(serializers.Serializer):
    """Why something is not possible."""

    detail = serializers.CharField()


class RefusalSerializer(serializers.Serializer):
    """Why the state of things does not allow what was asked."""

    code = serializers.CharField()
    detail = serializers.CharField()


def page_of(name: str, result: type[serializers.Serializer]) -> serializers.Serializer:
    """Return the shape of a page of results."""
    return inline_serializer(
        name,
        {
            "count": serializers.IntegerField(),
            "page": serializers.IntegerField(),
            "pages": serializers.IntegerField(),
            "results": result(many=True),
        },
    )
