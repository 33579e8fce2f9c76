"""Share the tests out among processes: what uses the same expensive things to one of them, what takes long first."""

import pytest
from xdist.scheduler import LoadScopeScheduling

TOGETHER = (
    "tests/acceptance/test_chaos.py",
    "tests/acceptance/",
    "tests/oscar/",
    "tests/elsewhere/test_uvicorn.py",
    "tests/extracted/own_store/",
    "tests/demo/",
    "tests/extracted/",
)
"""Folders and files whose tests share what takes seconds to make, those that take longest first."""
BY_CASE = ("tests/router/shadow/test_known_answers.py",)
"""Files whose tests of the same parameter share what takes seconds to make."""
LONG = (
    "tests/router/shadow/test_known_answers.py",
    "tests/test_packaging.py",
    "tests/migrations_plan/test_concurrency.py",
    "tests/migrations_plan/sync/events/test_brokers.py",
    "tests/migrations_plan/sync/test_machine.py",
)
"""Files whose tests take seconds each, and share nothing."""


class Sharing(LoadScopeScheduling):
    """Give each of them to one process as a whole, and every other test to whoever is free.

    xdist's own groups are written into node ids, which pytest since version 9.2 does not let a plugin change.
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(BY_CASE):
            return nodeid.partition("[")[2] or nodeid
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid)


def long_ones_first(items: list[pytest.Item]) -> None:
    """Put what takes long before all others, so that no process waits for another at the end."""
    first = (*TOGETHER, *LONG)
    items.sort(key=lambda item: next((n for n, each in enumerate(first) if item.nodeid.startswith(each)), len(first)))
