"""The night's work on orders, and what is done each second for the service that has no worker."""

from datetime import timedelta

from celery import shared_task

from legacy_shop.orders import handover
from legacy_shop.orders.nightly import expire_unpaid

UNPAID_FOR = timedelta(hours=24)
"""How long an order may wait for its money."""


@shared_task(name="orders.expire_unpaid_orders")
def expire_unpaid_orders() -> str:
    """Expire orders that nobody paid for."""
    report = expire_unpaid(UNPAID_FOR)
    expired = report.expired
    return f"expired {expired.orders} orders, gave back {expired.pieces} pieces, left {report.left} for the next night"


@shared_task(name="orders.resume_at_service")
def resume_at_service() -> str:
    """Have the service go on with what it left unfinished."""
    return str(handover.resume())


@shared_task(name="orders.hand_events_on")
def hand_events_on() -> str:
    """Hand the service's events on."""
    return str(handover.hand_events_on())
