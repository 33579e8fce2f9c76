"""The internal listener: a process of its own, since on the shop's threads calls from services would deadlock it."""

from django.urls import path

from legacy_shop.payments.internal import health, run_payment_attempt

urlpatterns = [
    path("health/", health, name="internal-health"),
    path("internal/payments/attempts/<uuid:provider_key>/run/", run_payment_attempt, name="internal-run-attempt"),
]
