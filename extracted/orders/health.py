"""Tell load balancers and the control plane whether the service lives and can work."""

import logging

from django.db import Error
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from extracted.orders.stores import order_store
from router.service.conf import conf

logger = logging.getLogger(__name__)


@require_safe
def live(request: HttpRequest) -> JsonResponse:
    """Answer that the process serves requests, whatever it depends on."""
    return JsonResponse({"status": "ok", "service": conf().name})


@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """Answer whether the store can be reached, and which one it is."""
    store = order_store()
    about = {"service": conf().name, "store": store.name}
    try:
        database = store.check()
    except Error as error:
        logger.warning("The store %r cannot be reached: %s", store.name, error)
        return JsonResponse({"status": "unavailable", **about, "detail": type(error).__name__}, status=503)
    return JsonResponse({"status": "ready", **about, "database": database})
