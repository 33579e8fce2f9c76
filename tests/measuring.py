"""Measure the coverage of the tests that are marked for it, and leave all others at their full speed."""

from collections.abc import Generator

import pytest
from coverage import Coverage


class Measuring:
    """A plugin that traces marked tests with their fixtures, in this process alone."""

    def __init__(self) -> None:
        self.coverage = Coverage(data_suffix=True)
        self.coverage.set_option("run:patch", [])
        quiet = ["module-not-measured", "module-not-imported", "no-data-collected"]
        self.coverage.set_option("run:disable_warnings", quiet)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Trace the test if it is marked, or if no other database runs it."""
        if not item.get_closest_marker("measured") and not item.get_closest_marker("postgres"):
            return (yield)
        self.coverage.start()
        try:
            return (yield)
        finally:
            self.coverage.stop()

    def pytest_sessionfinish(self) -> None:
        """Write down what was reached."""
        self.coverage.save()
