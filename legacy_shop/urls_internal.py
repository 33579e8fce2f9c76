"""The internal listener: a process of its own, since on the shop's threads calls from services would deadlock it."""

from django.urls import path

from legacy_shop.orders.internal import confirm_stock, release_stock, reserve_stock, restock
from legacy_shop.payments.internal import health, run_payment_attempt

urlpatterns = [
    path("health/", health, name="internal-health"),
    path("internal/payments/attempts/<uuid:provider_key>/run/", run_payment_attempt, name="internal-run-attempt"),
    path("internal/stock/reservations/<uuid:saga>/", reserve_stock, name="internal-reserve"),
    path("internal/stock/reservations/<uuid:saga>/confirm/", confirm_stock, name="internal-confirm"),
    path("internal/stock/reservations/<uuid:saga>/release/", release_stock, name="internal-release"),
    path("internal/stock/restocks/<str:key>/", restock, name="internal-restock"),
]
