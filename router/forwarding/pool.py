"""Keep connections to upstreams open between requests."""

import os
import socket
import ssl
import threading
from collections import deque
from functools import cache
from time import monotonic

from router.forwarding.messages import NotSent, Upstream
from router.forwarding.wire import Connection

MAX_IDLE = 32
"""Idle connections kept per upstream and process."""


class ConnectionPool:
    """The idle connections to one address, the youngest handed out first."""

    def __init__(self, max_idle: int = MAX_IDLE) -> None:
        self._idle: deque[Connection] = deque()
        self._lock = threading.Lock()
        self._max_idle = max_idle

    def __len__(self) -> int:
        return len(self._idle)

    def take(self) -> Connection | None:
        """Return an idle connection that is still good, dropping those that are not."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if monotonic() < connection.expires and connection.quiet():
                connection.reused = True
                return connection
            connection.close()

    def put(self, connection: Connection, idle_seconds: float) -> None:
        """Keep a connection whose exchange is complete; one with something left to read is closed."""
        if not connection.quiet():
            connection.close()
            return
        now = monotonic()
        connection.expires = now + idle_seconds
        dropped: list[Connection] = []
        with self._lock:
            self._idle.append(connection)
            while len(self._idle) > self._max_idle or self._idle[0].expires <= now < connection.expires:
                dropped.append(self._idle.popleft())
        for old in dropped:
            old.close()

    def clear(self) -> None:
        """Close every idle connection."""
        with self._lock:
            dropped, self._idle = self._idle, deque()
        for connection in dropped:
            connection.close()


class _Pools:
    """All pools of one process; a forked child starts with its own, since sockets can not be shared."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.by_address: dict[tuple[str, str, int], ConnectionPool] = {}


_pools = _Pools()


def pool_for(upstream: Upstream) -> ConnectionPool:
    """Return this process's pool for the upstream's address."""
    global _pools
    if _pools.pid != os.getpid():
        _pools = _Pools()
    pool = _pools.by_address.get(upstream.address)
    return pool if pool is not None else _pools.by_address.setdefault(upstream.address, ConnectionPool())


def close_all() -> None:
    """Close the idle connections of this process, for a clean shutdown and for tests."""
    for pool in list(_pools.by_address.values()):
        pool.clear()


def connect(upstream: Upstream, deadline: float) -> Connection:
    """Open a connection, or raise ``NotSent``: until it stands nothing can have reached the upstream."""
    scheme, host, port = upstream.address
    limit = min(deadline, monotonic() + upstream.timeouts.connect)
    try:
        sock = _open(host, port, limit)
        if scheme == "https":
            sock.settimeout(max(limit - monotonic(), 0.001))
            sock = _tls().wrap_socket(sock, server_hostname=host)
    except ConnectionRefusedError as error:
        raise NotSent(upstream, "connect_refused", "the connection was refused") from error
    except TimeoutError as error:
        raise NotSent(upstream, "connect_timeout", f"no connection within {upstream.timeouts.connect} s") from error
    except OSError as error:
        raise NotSent(upstream, "connect", f"no connection ({error})") from error
    return Connection(sock)


def _open(host: str, port: int, limit: float) -> socket.socket:
    failure: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            left = limit - monotonic()
            if left <= 0:
                raise TimeoutError("deadline")
            sock.settimeout(left)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            sock.close()
            failure = error
    raise failure


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
