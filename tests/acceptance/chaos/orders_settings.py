"""The orders service's settings for a run: what somebody who died has left is taken over sooner."""

from extracted.orders.settings import *  # noqa: F403

STRANGLER_SAGAS = {"LEASE_SECONDS": 4.0}  # longer than a step's time-out
