"""Make the broker unreliable. It is a directory, so what a real one does rarely can be done to it at will."""

import base64
import json
import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

SCAN_SECONDS = 0.002
"""Pause between two looks at the directory: a worker takes a message away within some milliseconds."""
HOLD_SECONDS = 4.0
COPIED, HELD = 0.4, 0.3
"""Shares of the messages that are put in twice, and that are held back."""


@dataclass(frozen=True, kw_only=True)
class Broker:
    """The directory that publishers and workers share."""

    directory: Path
    queue: str = "events.shop"

    @property
    def messages(self) -> Path:
        """Where messages wait, one file each, the queue in the name."""
        return self.directory / "messages"

    @property
    def aside(self) -> Path:
        """Where the directory is while the broker is away."""
        return self.directory.with_name(f"{self.directory.name}-away")

    @property
    def held(self) -> Path:
        """Where messages are held back."""
        return self.directory.with_name(f"{self.directory.name}-held")

    def go_away(self) -> None:
        """Take the directory away. A file in its place keeps everybody from making it anew, and from finding it."""
        self.directory.rename(self.aside)
        self.directory.touch()

    def come_back(self) -> None:
        """Put the directory back, with the messages that were in it."""
        if self.aside.exists():
            self.directory.unlink()
            self.aside.rename(self.directory)

    def waiting(self) -> list[Path]:
        """Return the events' messages that nobody has taken yet, oldest first."""
        try:
            return sorted(self.messages.glob(f"*.{self.queue}.msg"))
        except OSError:
            return []  # the broker is away

    def waiting_events(self) -> set[str]:
        """Return the ids of the events whose messages nobody has taken yet, 32 hexadecimal digits each."""
        found = set()
        for message in self.waiting():
            try:
                found.add(event_of(message.read_bytes()))
            except FileNotFoundError:
                continue  # taken in this moment
        return found

    def copy(self, message: Path) -> Path | None:
        """Put a message in a second time, under a name of its own; None if it was gone."""
        stamp = message.name.partition("_")[0]
        return _moved(os.link, message, self.messages / f"{stamp}_{uuid.uuid4()}.{self.queue}.msg")

    def hold(self, message: Path) -> Path | None:
        """Take a message away before anybody reads it; return where it is, None if somebody was faster."""
        return _moved(os.rename, message, self.held / message.name)

    def put_back(self, held: Path, after: int) -> str:
        """Put in a message that was held back, so many milliseconds behind all there are; return its new name."""
        name = f"{round(time.monotonic() * 1000) + after}_{uuid.uuid4()}.{self.queue}.msg"
        os.rename(held, self.messages / name)
        return name


@dataclass
class Meddler:
    """Puts some messages in twice, and holds others back to put them in later, the newest first."""

    broker: Broker
    dice: random.Random
    copied: int = 0
    held: int = 0
    """Messages that were held back and are in again."""
    errors: list[BaseException] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)
    _kept: list[Path] = field(default_factory=list)
    _kept_since: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Meddle until stopped; the last thing is to put in what is still held."""
        try:
            self.broker.held.mkdir(exist_ok=True)
            while not self._stop.wait(SCAN_SECONDS):
                self.look()
            self.let_go()
        except BaseException as error:
            self.errors.append(error)

    def look(self) -> None:
        """Meddle once with what is waiting now."""
        for message in self.broker.waiting():
            if message.name in self._seen:
                continue
            self._seen.add(message.name)
            self.dice.choices((self._copy, self._hold, self._leave), (COPIED, HELD, 1 - COPIED - HELD))[0](message)
        if self._kept and time.monotonic() - self._kept_since > HOLD_SECONDS:
            self.let_go()

    def let_go(self) -> None:
        """Put in what was held back, the newest first."""
        for after, held in enumerate(reversed(self._kept)):
            self._seen.add(self.broker.put_back(held, after))
            self.held += 1
        self._kept.clear()

    def stop(self) -> None:
        """End, soon."""
        self._stop.set()

    def _copy(self, message: Path) -> None:
        copy = self.broker.copy(message)
        if copy is not None:
            self._seen.add(copy.name)
            self.copied += 1

    def _hold(self, message: Path) -> None:
        kept = self.broker.hold(message)
        if kept is not None:
            self._kept_since = self._kept_since if self._kept else time.monotonic()
            self._kept.append(kept)

    def _leave(self, message: Path) -> None:
        """Let the message take its way."""


@contextmanager
def meddling(broker: Broker, dice: random.Random) -> Iterator[Meddler]:
    """Meddle with the messages while the block runs; nothing is held back any more after it."""
    meddler = Meddler(broker=broker, dice=dice)
    thread = threading.Thread(target=meddler.run, name="meddler", daemon=True)
    thread.start()
    try:
        yield meddler
    finally:
        meddler.stop()
        thread.join(10)
    if meddler.errors:
        raise RuntimeError("Nobody meddled with the messages any more.") from meddler.errors[0]


def event_of(message: bytes) -> str:
    """Return the id of the event that a message of Celery's carries."""
    (envelope,), *_ = json.loads(base64.b64decode(json.loads(message)["body"]))
    return UUID(envelope["id"]).hex


def _moved(act: Callable[[Path, Path], None], source: Path, target: Path) -> Path | None:
    """Return the target, or None if a worker had the source first."""
    try:
        act(source, target)
    except FileNotFoundError:
        return None
    return target
