"""Do by turns what a worker does where there is a broker: settle, go on at the service, hand events on, end moves."""

import logging
import sys
from threading import Event

import django

django.setup()

from legacy_shop.orders import handover  # noqa: E402 (its models need the apps)
from legacy_shop.payments.services import settle_open  # noqa: E402
from migrations_plan.sync import owners  # noqa: E402
from migrations_plan.sync.errors import SyncError  # noqa: E402
from migrations_plan.sync.events import runs  # noqa: E402

PAUSE_SECONDS = 0.7
logger = logging.getLogger("tests.chores")


def main() -> None:
    """Go on until killed."""
    turn = Event()
    sys.stdout.write("ready.\n")
    sys.stdout.flush()
    while not turn.wait(PAUSE_SECONDS):
        for chore in (settle_open, handover.resume, handover.hand_events_on, runs.work, resume):
            try:
                chore()
            except Exception:
                logger.exception("%s failed; it is tried again", chore)


def resume() -> None:
    """End what a coordinator has left in between."""
    try:
        found = owners.resume("orders") if owners.resume("orders", dry_run=True) else ()
    except SyncError as error:
        logger.info("handover: %s", error)
    else:
        if found:
            logger.info("handover: ended %s", found)


if __name__ == "__main__":
    main()
