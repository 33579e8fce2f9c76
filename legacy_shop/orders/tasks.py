"""The night's work on orders."""

from datetime import timedelta

from celery import shared_task

from legacy_shop.orders.nightly import expire_unpaid

UNPAID_FOR = timedelta(hours=24)
"""How long an order may wait for its money."""


@shared_task(name="orders.expire_unpaid_orders")
def expire_unpaid_orders() -> str:
    """Expire orders that nobody paid for."""
    report = expire_unpaid(UNPAID_FOR)
    expired = report.expired
    return f"expired {expired.orders} orders, gave back {expired.pieces} pieces, left {report.left} for the next night"
