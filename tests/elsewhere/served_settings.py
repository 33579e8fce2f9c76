"""The reading room's settings for a real server: its own loop, its own databases, everything diverted."""

from tests.elsewhere.settings import *  # noqa: F403
from tests.elsewhere.settings import STRANGLER

STRANGLER["SNAPSHOT_SOURCE"] = "tests.elsewhere.served.Everything"
STRANGLER["POLLER"] = True
STRANGLER["DEBUG_HEADERS"] = True
STRANGLER["SERVICES"]["loans"]["TIMEOUTS"] = {"FIRST_BYTE": 15.0, "TOTAL": 20.0}  # seconds
STRANGLER["SERVICES"]["loans"]["BREAKER"] = {"FAIL_MAX": 1000}
STRANGLER_IDEMPOTENCY = {"HOLDER": "legacy", "LEASE_SECONDS": 60.0}
LOGGING = {
    "version": 1,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
