"""How many examples Hypothesis tries: some in every run, with TEST_THOROUGHNESS=20 twenty times as many."""

import os

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("TEST_THOROUGHNESS", "1"))
IN_MEMORY = 50
"""Examples where nothing says otherwise."""


PATIENT = [HealthCheck.too_slow]
"""On a loaded machine everything is slow, and nothing wrong."""


def examples(number: int) -> settings:
    """Return the settings of a test that uses the database, or takes long otherwise."""
    suppressed = [*PATIENT, HealthCheck.function_scoped_fixture]
    return settings(max_examples=number * TIMES, deadline=None, suppress_health_check=suppressed)


def load() -> None:
    """Let every other test try as many as usual."""
    settings.register_profile("tests", max_examples=IN_MEMORY * TIMES, deadline=None, suppress_health_check=PATIENT)
    settings.load_profile("tests")
