"""What services may ask of the monolith's payments, on the listener that only they can reach."""

from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from legacy_shop.payments.models import PaymentAttempt
from legacy_shop.payments.services import run_attempt
from router.identity import HEADER
from router.identity.tokens import IdentityRejected, verify

AUDIENCE = "monolith"


@csrf_exempt
@require_POST
def run_payment_attempt(request: HttpRequest, provider_key: UUID) -> JsonResponse:
    """Run an attempt that the orders service committed; it comes back open if the provider did not answer.

    The service marks its order paid itself: to call it from here, while it waits for this answer, could block both.
    """
    secret = settings.STRANGLER["SERVICES"]["orders"]["SECRET"]
    try:
        caller = verify(request.headers.get(HEADER, ""), audience=AUDIENCE, secret=secret)
    except IdentityRejected as error:
        return JsonResponse({"detail": str(error)}, status=401)
    if caller.kind != "service":
        return JsonResponse({"detail": f"Only services may ask, not a {caller.kind} client."}, status=403)
    try:
        attempt = run_attempt(provider_key, tell=False)
    except PaymentAttempt.DoesNotExist:
        return JsonResponse({"detail": f"There is no payment attempt {provider_key}."}, status=404)
    settled_at = attempt.settled_at.isoformat() if attempt.settled_at else None
    return JsonResponse({"kind": attempt.kind, "state": attempt.state, "settled_at": settled_at})


def health(request: HttpRequest) -> JsonResponse:
    """Say that the listener listens."""
    return JsonResponse({"status": "ok"})
