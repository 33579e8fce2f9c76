"""The moments at which a process may die, by name, for tests that let it die there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Watcher = Callable[[str], None]

_watchers: list[Watcher] = []


def passed(point: str) -> None:
    """Tell whoever watches that this moment has come; usually nobody does."""
    for watcher in _watchers:
        watcher(point)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Have ``watcher`` called at each moment, for the length of the block."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)
