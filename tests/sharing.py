"""Share the tests out among processes: what uses the same expensive things to one of them, what takes long first."""

import pytest
from xdist.scheduler import LoadScopeScheduling

TOGETHER = (
    "tests/acceptance/",
    "tests/oscar/",
    "tests/demo/",
    "tests/elsewhere/test_uvicorn.py",
)
"""Folders and files whose tests share what takes seconds to make, those that take longest first."""


class Sharing(LoadScopeScheduling):
    """Give each of them to one process as a whole, and every other test to whoever is free.

    xdist's own groups are written into node ids, which pytest since version 9.2 does not let a plugin change.
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid)


def long_ones_first(items: list[pytest.Item]) -> None:
    """Put what takes long before all others, so that no process waits for another at the end."""
    items.sort(key=lambda item: next((n for n, each in enumerate(TOGETHER) if item.nodeid.startswith(each)), 99))
