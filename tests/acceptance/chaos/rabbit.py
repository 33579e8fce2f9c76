"""The broker of a run: a RabbitMQ node of its own that can be killed, or, where none is installed, somebody else's."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Protocol
from urllib.parse import urlsplit

import kombu

from tests.acceptance.hints import Cable
from tests.processes import ProcessFailed, free_port, wait_until

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Of Debian's package; the one on the path wants to be root and to use the folders of the machine's own node."""
START_SECONDS = 60.0
QUEUES = ("{}.tasks", "{}.sync", "events.{}")
"""Where hints and events of a run wait, by its name."""


class Rabbit(Protocol):
    """The broker of a run, and what can be done to it."""

    url: str
    """Where programs reach it."""

    def wait(self) -> None:
        """Wait until programs reach it."""

    def unplug(self) -> None:
        """Break off all connections, and refuse new ones."""

    def plug_in(self) -> None:
        """Let programs reach it again."""

    def restart(self) -> None:
        """Have it die, and come back with what it had on its disk."""

    def forget(self) -> None:
        """Have it die, and come back with nothing."""


@dataclass(kw_only=True)
class Node:
    """A RabbitMQ node of this run's own, which dies by SIGKILL."""

    folder: Path
    cable: Cable
    port: int
    url: str
    _spread: int = field(default_factory=free_port)
    _process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it; it listens some seconds later."""
        places = {"MNESIA_BASE": "db", "LOG_BASE": "log", "ENABLED_PLUGINS_FILE": "plugins", "CONFIG_FILE": "config"}
        named = {
            "NODENAME": f"chaos{self.port}@localhost",
            "NODE_IP_ADDRESS": "127.0.0.1",
            "NODE_PORT": str(self.port),
            "DIST_PORT": str(self._spread),
            **{name: str(self.folder / place) for name, place in places.items()},
        }
        ours = {"HOME": str(self.folder), "PATH": os.environ["PATH"]}  # it takes $LOGS and others for its own
        with (self.folder / "output.log").open("ab") as log:
            self._process = subprocess.Popen(
                (SERVER,),
                env=ours | {f"RABBITMQ_{name}": value for name, value in named.items()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until it listens, and let programs in."""
        wait_until(self._listens, f"the RabbitMQ node in {self.folder} listens", START_SECONDS)
        self.plug_in()

    def _listens(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise ProcessFailed(f"RabbitMQ has ended: {(self.folder / 'output.log').read_text()[-2000:]}")
        return listens(self.port)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            wait_until(lambda: not listens(self.port), "the node, which is the shell's child, is dead")

    def unplug(self) -> None:
        """Let nobody reach it."""
        self.cable.unplug()

    def plug_in(self) -> None:
        """Let everybody reach it."""
        self.cable.plug_in()

    def restart(self) -> None:
        """Kill it, and start it again."""
        self._come_back(empty=False)

    def forget(self) -> None:
        """Kill it, throw its disk away, and start it again."""
        self._come_back(empty=True)

    def _come_back(self, *, empty: bool) -> None:
        self.unplug()
        self.kill()
        if empty:
            rmtree(self.folder / "db")
        self.start()
        self.wait()


@dataclass(kw_only=True)
class Queues:
    """Queues at a RabbitMQ that others use, too: what happens to it, happens to this run's queues and connections."""

    name: str
    server: str
    cable: Cable
    url: str

    def wait(self) -> None:
        """Let programs in."""
        self.plug_in()

    def unplug(self) -> None:
        """Let nobody of this run reach it."""
        self.cable.unplug()

    def plug_in(self) -> None:
        """Let everybody reach it."""
        self.cable.plug_in()

    def restart(self) -> None:
        """Do as if: connections break off, and messages stay."""
        self.unplug()
        self.plug_in()

    def forget(self) -> None:
        """Throw away all messages that wait."""
        self.unplug()
        with kombu.Connection(self.server) as connection:
            channel = connection.channel()
            for queue in QUEUES:
                channel.queue_purge(queue.format(self.name))
        self.plug_in()

    def remove(self) -> None:
        """Leave nothing of this run there."""
        with kombu.Connection(self.server) as connection:
            for queue in QUEUES:
                connection.channel().queue_delete(queue.format(self.name))
            for exchange in (f"{self.name}.events", f"{self.name}.tasks", f"{self.name}.sync"):
                connection.channel().exchange_delete(exchange)


@contextmanager
def rabbit(url: str, name: str, folder: Path) -> Iterator[Rabbit | None]:
    """Give a broker for the length of the block: a node of its own if it can be had, else queues at ``url``.

    None without an address. It is still starting: whoever needs it calls ``wait``.
    """
    with ExitStack() as opened:
        if not url:
            yield None
            return
        own = SERVER.exists()
        port = free_port() if own else urlsplit(url).port or 5672
        cable = Cable(port)
        through = urlsplit(url)._replace(netloc=f"guest:guest@127.0.0.1:{cable.port}").geturl()
        opened.callback(cable.unplug)
        if own:
            folder.mkdir()
            node = Node(folder=folder, cable=cable, port=port, url=through)
            opened.callback(node.kill)
            node.start()
            yield node
        else:
            queues = Queues(name=name, server=url, cable=cable, url=through)
            opened.callback(queues.remove)
            yield queues


def listens(port: int) -> bool:
    """Return whether somebody listens at a port of this machine."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
