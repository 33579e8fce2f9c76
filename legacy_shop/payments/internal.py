"""What services may ask of the monolith's payments, on the listener that only they can reach."""

import json
from typing import Any
from uuid import UUID

from django.http import HttpRequest, JsonResponse
from rest_framework import serializers

from legacy_shop.internal import for_services
from legacy_shop.payments.ledger import Kind, State
from legacy_shop.payments.models import PaymentAttempt
from legacy_shop.payments.provider import Request
from legacy_shop.payments.services import ask_for_others, run_attempt


class ForeignAttemptSerializer(serializers.Serializer):
    """An attempt that is in a service's ledger."""

    kind = serializers.ChoiceField(choices=Kind.values)
    amount_minor = serializers.IntegerField(min_value=1)
    currency = serializers.CharField(min_length=3, max_length=3)
    card = serializers.CharField(max_length=64, allow_blank=True)
    reference = serializers.CharField(max_length=20)
    charge = serializers.UUIDField(allow_null=True, default=None)


@for_services
def run_payment_attempt(request: HttpRequest, provider_key: UUID) -> JsonResponse:
    """Run an attempt; it comes back open if the provider did not answer.

    Without a body it is an attempt of the monolith's ledger, which the service has committed there. With one it is an
    attempt of the service's own ledger: the provider is asked, with the credentials that only the monolith has, and the
    service settles it. The service marks its order paid itself, in either case: to call it from here, while it waits
    for this answer, could block both.
    """
    if request.content_type == "application/json":
        return _run_for_others(request, provider_key)
    try:
        attempt = run_attempt(provider_key, tell=False)
    except PaymentAttempt.DoesNotExist:
        return JsonResponse({"detail": f"There is no payment attempt {provider_key}."}, status=404)
    settled_at = attempt.settled_at.isoformat() if attempt.settled_at else None
    return JsonResponse({"kind": attempt.kind, "state": attempt.state, "settled_at": settled_at})


def _run_for_others(request: HttpRequest, provider_key: UUID) -> JsonResponse:
    try:
        given = ForeignAttemptSerializer(data=json.loads(request.body))
    except ValueError:
        return JsonResponse({"detail": "The body is not JSON."}, status=422)
    if not given.is_valid():
        return JsonResponse(given.errors, status=422)
    data: dict[str, Any] = given.validated_data
    answer = ask_for_others(Request(key=provider_key, **{**data, "kind": Kind(data["kind"])}))
    if answer is None:
        return JsonResponse({"kind": data["kind"], "state": State.OPEN})
    state = State.SUCCEEDED if answer.succeeded else State.FAILED
    found = {"kind": data["kind"], "state": state, "reference": answer.reference, "failure": answer.failure}
    return JsonResponse(found)


def health(request: HttpRequest) -> JsonResponse:
    """Say that the listener listens."""
    return JsonResponse({"status": "ok"})
