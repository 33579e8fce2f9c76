"""Threads that wait for services on behalf of an event loop: each service has its own, so that one that is slow holds
up nobody but its own clients."""

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from router.conf import conf

T = TypeVar("T")


class _Pools:
    """All pools of one process, made when they are needed first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.by_service: dict[str, ThreadPoolExecutor] = {}


_pools = _Pools()


def run(service: str, work: Callable[[], T]) -> asyncio.Future[T]:
    """Run ``work`` on a thread of this service; it sees the caller's context variables."""
    call = partial(contextvars.copy_context().run, work)
    return asyncio.get_running_loop().run_in_executor(_pool_for(service), call)


def _pool_for(service: str) -> ThreadPoolExecutor:
    pool = _pools.by_service.get(service)
    if pool is None:
        with _pools.lock:
            pool = _pools.by_service.get(service)
            if pool is None:
                pool = ThreadPoolExecutor(conf().forward_threads, thread_name_prefix=f"strangler-forward-{service}")
                _pools.by_service[service] = pool
    return pool


def _after_fork() -> None:
    """Forget the parent's threads, which do not exist here."""
    global _pools
    _pools = _Pools()


os.register_at_fork(after_in_child=_after_fork)
