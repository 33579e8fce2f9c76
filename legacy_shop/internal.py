"""What views on the internal listener share: only services are let in, by their signed identity."""

import functools
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from router.identity import HEADER
from router.identity.tokens import IdentityRejected, verify

AUDIENCE = "monolith"


def for_services(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Let the orders service post to a view, and nobody else."""

    @functools.wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        secret = settings.STRANGLER["SERVICES"]["orders"]["SECRET"]
        try:
            caller = verify(request.headers.get(HEADER, ""), audience=AUDIENCE, secret=secret)
        except IdentityRejected as error:
            return JsonResponse({"detail": str(error)}, status=401)
        if caller.kind != "service":
            return JsonResponse({"detail": f"Only services may ask, not a {caller.kind} client."}, status=403)
        return view(request, *args, **kwargs)

    return csrf_exempt(require_POST(guarded))
