"""The night's housekeeping of the toolkit's tables."""

from celery import shared_task

from legacy_shop.orders.reservations import purge as purge_reservations
from router.idempotency.retention import purge as purge_keys
from router.retention import purge as purge_traffic

KEEP_TRAFFIC_DAYS = 14.0


@shared_task(name="backoffice.forget_old_rows")
def forget_old_rows() -> str:
    """Forget idempotency keys that nobody retries any more, reservations that are over, and old traffic."""
    rows = sum(purge_traffic(KEEP_TRAFFIC_DAYS).values())
    return f"forgot {purge_keys()} idempotency keys, {rows} rows of traffic and {purge_reservations()} reservations"
