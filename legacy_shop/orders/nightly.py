"""The night's work on orders: in one sweep where they are written here, one by one where they are written elsewhere."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from legacy_shop.errors import ShopError
from legacy_shop.orders.expiry import BATCH, ExpiryReport, expire_ours, written_elsewhere
from legacy_shop.orders.operations import expire
from router.exceptions import StranglerError
from router.fences import NotOwner

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class NightReport:
    """What a night did."""

    expired: ExpiryReport
    left: int = 0
    """Orders that nobody could expire now; the next night tries again."""


def expire_unpaid(
    older_than: timedelta, *, progress: Callable[[ExpiryReport], None] | None = None, batch: int = BATCH
) -> NightReport:
    """Expire pending orders that are older and were never charged, and give their stock back."""
    before = timezone.now() - older_than
    expired, left = ExpiryReport(orders=0, pieces=0), 0
    try:
        expired += expire_ours(before, progress=progress, batch=batch)
    except NotOwner as moved:  # a bucket has left in the middle of a batch, which is undone; the next night goes on
        logger.warning("the sweep ends early: %s", moved)
    for customer_id, order_id in written_elsewhere(before):
        try:
            answer = expire(customer_id, order_id, before.isoformat())
        except (ShopError, StranglerError) as error:
            logger.warning("order %s is not expired: %s", order_id, error)
            left += 1
            continue
        done = ExpiryReport(orders=int(answer["expired"]), pieces=answer["pieces"])
        expired += done
        if progress is not None:
            progress(done)
    return NightReport(expired=expired, left=left)
