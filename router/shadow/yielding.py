"""Let comparisons give way to requests, which they share one interpreter with.

Threads of a process run Python one at a time, and one that has begun keeps the others waiting for up to 5 ms (see
``sys.setswitchinterval``). So before each piece of its work a comparison waits until no request is being answered in
this process. It does not wait for ever: a request that is slow because it waits itself is in nobody's way.
"""

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import Any

from django.db import connections
from django.http import HttpResponseBase

PATIENCE_SECONDS = 0.02
"""How long one piece of work waits at most."""
PATIENCE_WITH_A_VIEW = 0.25
"""How long a view that is run for a comparison waits at most, in all its pieces."""


class _Answering:
    """The requests that this process is answering now."""

    def __init__(self) -> None:
        # Reentrant: an answer that is forgotten is counted by the garbage collector, wherever that comes in.
        self._none = threading.Condition(threading.RLock())
        self._count = 0
        self.waiting = 0
        """How many threads wait for the end of them."""

    def begin(self) -> None:
        with self._none:
            self._count += 1

    def end(self) -> None:
        with self._none:
            self._count -= 1
            if not self._count:
                self._none.notify_all()

    def wait_for_none(self, seconds: float) -> bool:
        with self._none:
            self.waiting += 1
            try:
                return self._none.wait_for(lambda: not self._count, seconds)
            finally:
                self.waiting -= 1


_answering = _Answering()


def waiting() -> int:
    """Return how many threads wait until no request is being answered."""
    return _answering.waiting


class Answering:
    """A request, from when the router sees it until its answer has been sent."""

    def __init__(self) -> None:
        self._requests: _Answering | None = _answering
        self._is_to_be_sent = False
        self._requests.begin()

    def __enter__(self) -> "Answering":
        return self

    def __exit__(self, *raised: object) -> None:
        if not self._is_to_be_sent:
            self.end()

    def until_sent(self, response: HttpResponseBase) -> HttpResponseBase:
        """Let it be over when the server closes the answer, or forgets it; a stream is not waited for."""
        if not response.streaming:
            self._is_to_be_sent = True
            response._resource_closers.append(self.end)  # type: ignore[attr-defined]
            weakref.finalize(response, self.end)
        return response

    def __getstate__(self) -> dict[str, None]:
        """Let a cache keep the answer; nobody waits for the end of one that is taken from there."""
        return {"_requests": None}

    def end(self) -> None:
        """Say that it is over; to say so again means nothing."""
        requests, self._requests = self._requests, None
        if requests is not None:
            requests.end()


def give_way() -> bool:
    """Wait, a moment at most, until no request is being answered here; return whether that is so."""
    return _wait(PATIENCE_SECONDS)


def waited() -> float:
    """Return for how many seconds this thread has given way, all in all."""
    return getattr(_of_thread, "waited", 0.0)


_of_thread = threading.local()


def _wait(seconds: float) -> bool:
    began = monotonic()
    try:
        return _answering.wait_for_none(seconds)
    finally:
        _of_thread.waited = waited() + monotonic() - began


@contextmanager
def giving_way() -> Iterator[None]:
    """Have a view of the monolith, run for a comparison, give way before each of its queries."""
    waiter = _BetweenQueries()
    with ExitStack() as stack:
        for connection in connections.all():
            stack.enter_context(connection.execute_wrapper(waiter))
        give_way()
        yield


class _BetweenQueries:
    """Waits before each query until no request is being answered, or until its patience has come to an end."""

    def __init__(self) -> None:
        self._left = PATIENCE_WITH_A_VIEW

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        if self._left > 0:
            before = waited()
            _wait(min(PATIENCE_SECONDS, self._left))
            self._left -= waited() - before
        return execute(sql, params, many, context)


def _after_fork() -> None:
    global _answering
    _answering = _Answering()


os.register_at_fork(after_in_child=_after_fork)
