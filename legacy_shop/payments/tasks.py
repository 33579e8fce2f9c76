"""Hints that there is money to settle; losing one changes nothing but the delay."""

from celery import shared_task

from legacy_shop.payments.services import settle_open


@shared_task(name="payments.settle_open_payments")
def settle_open_payments() -> str:
    """Settle the attempts that were left open."""
    return str(settle_open())
