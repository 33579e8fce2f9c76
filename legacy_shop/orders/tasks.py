"""The night's work on orders."""

from datetime import timedelta

from celery import shared_task

from legacy_shop.orders.expiry import expire_unpaid

UNPAID_FOR = timedelta(hours=24)
"""How long an order may wait for its money."""


@shared_task(name="orders.expire_unpaid_orders")
def expire_unpaid_orders() -> str:
    """Expire orders that nobody paid for."""
    report = expire_unpaid(UNPAID_FOR)
    return f"expired {report.orders} orders, gave back {report.pieces} pieces"
