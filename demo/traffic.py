"""Keep many clients busy from a few threads, at a pace that can be changed while they run."""

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Actor(Protocol):
    """A client with a will of its own."""

    weight: float

    def act(self) -> None:
        """Do one thing."""


@dataclass
class Traffic:
    """Threads that let their actors act, one at a time, with pauses to think."""

    actors: Sequence[Actor]
    seed: int
    threads: int = 8
    think_seconds: float = 0.2
    errors: list[BaseException] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _workers: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Begin; each actor belongs to one thread, so what one customer does stays in order."""
        self._stop.clear()
        self._workers = [
            threading.Thread(target=self._run, args=(number,), name=f"traffic-{number}", daemon=True)
            for number in range(self.threads)
        ]
        for worker in self._workers:
            worker.start()

    def stop(self, seconds: float = 30.0) -> None:
        """End after the requests that are under way; raise what broke a thread."""
        self._stop.set()
        for worker in self._workers:
            worker.join(seconds)
        stuck = [worker.name for worker in self._workers if worker.is_alive()]
        self._workers = []
        self.check()
        if stuck:
            raise RuntimeError(f"Still under way {seconds:.0f} s after traffic was to end: {', '.join(stuck)}.")

    def check(self) -> None:
        """Raise the error that broke a thread, if one did: silent traffic would prove nothing."""
        if self.errors:
            raise RuntimeError("A traffic thread broke; its customers went silent.") from self.errors[0]

    def _run(self, number: int) -> None:
        dice = random.Random(f"{self.seed}-thread-{number}")
        mine = list(self.actors[number :: self.threads])
        weights = [actor.weight for actor in mine]
        try:
            while not self._stop.is_set():
                dice.choices(mine, weights)[0].act()
                self._stop.wait(dice.expovariate(1.0) * self.think_seconds)
        except BaseException as error:
            self.errors.append(error)
