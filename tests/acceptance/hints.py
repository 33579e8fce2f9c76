"""Brokers that carry the hints to workers, and what can be done to them: to lose every message, and to be away."""

import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import kombu

from demo.broker import Broker
from tests.processes import free_port


class Hints(Protocol):
    """The way of hints from whoever sends them to the workers of one run."""

    def env(self, queue: str = "a") -> dict[str, str]:
        """Return what a worker has to know; each queue gets every hint."""
        ...

    def lose(self) -> int:
        """Lose all messages that were sent since the last call; return how many."""
        ...

    def keep(self) -> None:
        """Lose no more messages."""
        ...

    def away(self) -> AbstractContextManager[None]:
        """Let nobody reach the broker while the block runs."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


class Cable:
    """A connection to a port of this machine that can be unplugged."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._ends: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None

    def plug_in(self) -> None:
        """Accept connections, and carry what is sent."""
        self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def unplug(self) -> None:
        """Refuse connections; those that are open break off."""
        with self._lock:
            ends, self._ends = self._ends, []
            listener, self._listener = self._listener, None
        for end in [*ends, *([listener] if listener else [])]:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # unplugged
            while True:
                near, _ = listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:  # nobody is there now
                    near.close()
                    continue
                with self._lock:
                    self._ends += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=_carry, args=pair, daemon=True).start()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class Rabbit:
    """Queues at a RabbitMQ that no other run uses, behind a cable."""

    def __init__(self, url: str) -> None:
        self.name = f"sync-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        parts = urlsplit(url)
        self._cable = Cable(parts.port or 5672)
        self._cable.plug_in()
        self._url = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{self._cable.port}").geturl()
        self._connection = kombu.Connection(url)
        exchange = kombu.Exchange(self.name, type="fanout")
        self._queues = {one: kombu.Queue(f"{self.name}-{one}", exchange, f"{self.name}-{one}") for one in "ab"}
        copies = kombu.Queue(f"{self.name}-copies", exchange, exclusive=True)
        self._copies = copies(self._connection.default_channel)

    def env(self, queue: str = "a") -> dict[str, str]:
        """Return what a worker has to know."""
        return {
            "CELERY_BROKER_URL": self._url,
            "SYNCER_QUEUE": self._queues[queue].name,
            "SYNCER_EXCHANGE": self.name,
            "SYNCER_TYPE": "fanout",
        }

    def lose(self) -> int:
        """Unbind the queue, so that the broker drops whatever is sent, and empty it; a copy of each is counted."""
        self._copies.declare()
        queue = self._queues["a"](self._connection.default_channel)
        queue.unbind_from(queue.exchange, queue.routing_key)
        queue.purge()
        return int(self._copies.purge() or 0)

    def keep(self) -> None:
        """Bind the queue again."""
        self._copies.delete()
        self._queues["a"](self._connection.default_channel).declare()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Unplug the cable while the block runs."""
        self._cable.unplug()
        try:
            yield
        finally:
            self._cable.plug_in()

    def close(self) -> None:
        """Leave nothing at the broker."""
        self._cable.unplug()
        channel = self._connection.channel()
        for queue in self._queues.values():
            channel.queue_delete(queue.name)
        channel.exchange_delete(self.name)
        self._connection.release()


class Folder:
    """The embedded broker, which needs no server: a directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker = Broker(directory=folder / "broker", queue="sync-a")

    def env(self, queue: str = "a") -> dict[str, str]:
        """Return what a worker has to know."""
        assert queue == "a"
        return {
            "CELERY_BROKER_URL": "embedded://",
            "SHOP_VAR": str(self.folder),
            "SYNCER_QUEUE": self.broker.queue,
            "SYNCER_EXCHANGE": self.broker.queue,
            "SYNCER_TYPE": "direct",
        }

    def lose(self) -> int:
        """Remove the messages that nobody has taken yet."""
        lost = 0
        for message in self.broker.waiting():
            with suppress(FileNotFoundError):  # taken in this moment
                message.unlink()
                lost += 1
        return lost

    def keep(self) -> None:
        """Leave messages alone."""

    @contextmanager
    def away(self) -> Iterator[None]:
        """Put the directory aside while the block runs."""
        self.broker.go_away()
        try:
            yield
        finally:
            self.broker.come_back()

    def close(self) -> None:
        """Leave the directory to whoever made it."""
