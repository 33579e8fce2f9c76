"""The orders service's settings for a run: what somebody who died has left is taken over sooner."""

from extracted.orders.settings import *  # noqa: F403
from extracted.orders.settings import DATABASES
from tests.acceptance.chaos.disk import without_waiting_for_the_disk

without_waiting_for_the_disk(DATABASES["default"])
STRANGLER_SAGAS = {"LEASE_SECONDS": 4.0}  # longer than a step's time-out
