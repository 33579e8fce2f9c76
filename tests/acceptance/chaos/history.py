"""What customers asked, what they were told, and what was broken meanwhile, with times of one monotonic clock."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

UNANSWERED = 0
"""The status of what brought no answer at all."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One thing that a customer wanted: asked until it was answered, always with the same key."""

    customer: int
    kind: str
    """``place``, ``pay``, ``cancel``, ``address``, ``show`` or ``list``."""
    key: str = ""
    order: int | None = None
    """The order it was about; None for placing and listing."""
    sent: Mapping[str, Any] = field(default_factory=dict)
    status: int
    """Of the last answer; 0 where there was none."""
    document: Any = None
    stale: bool = False
    """Whether the answer says of itself that it may be old."""
    side: str = ""
    reason: str = ""
    began: float
    ended: float
    tries: tuple[int, ...] = ()
    """The status of each answer on the way, the last one included."""
    tried_at: tuple[float, ...] = ()

    @property
    def code(self) -> str:
        """Return the machine-readable code of a refusal."""
        return str(self.document.get("code", "")) if isinstance(self.document, dict) else ""

    def __str__(self) -> str:
        about = f" of order {self.order}" if self.order else ""
        told = f"{self.status or 'no answer'} {self.code}".strip()
        at = f"at {self.began:.2f}, {self.ended - self.began:.2f} s, tries {list(self.tries)}"
        return f"{self.kind}{about} by customer {self.customer} ({told} from {self.side or '?'}, {self.reason}; {at})"


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Something that was broken on purpose, from when to when."""

    what: str
    began: float
    ended: float


class History:
    """Written by all customers and by whoever makes trouble; read when they are done."""

    def __init__(self) -> None:
        self.zero = monotonic()
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._troubles: list[Trouble] = []
        self._now: dict[int, tuple[str, float]] = {}

    def now(self) -> float:
        """Return the seconds since it began."""
        return monotonic() - self.zero

    def add(self, call: Call) -> None:
        """Write down what a customer was told."""
        with self._lock:
            self._calls.append(call)

    @contextmanager
    def trouble(self, what: str) -> Iterator[None]:
        """Note that something is broken while the block runs."""
        mark = object()
        began = self.now()
        with self._lock:
            self._now[id(mark)] = (what, began)
        try:
            yield
        finally:
            with self._lock:
                del self._now[id(mark)]
                self._troubles.append(Trouble(what=what, began=began, ended=self.now()))

    def troubled_since(self, began: float) -> float:
        """Return for how many of the seconds since then something was broken, what is broken now included."""
        now = self.now()
        with self._lock:
            spans = [(one.began, one.ended) for one in self._troubles]
            spans += [(since, now) for _, since in self._now.values()]
        return covered(spans, began, now)

    @property
    def calls(self) -> tuple[Call, ...]:
        """Return what customers were told so far."""
        with self._lock:
            return tuple(self._calls)

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """Return what was broken and is whole again."""
        with self._lock:
            return tuple(self._troubles)


def covered(spans: list[tuple[float, float]], began: float, ended: float) -> float:
    """Return for how many seconds between two times at least one of the spans lasted."""
    total, reached = 0.0, began
    for first, last in sorted(spans):
        first, last = max(first, reached), min(last, ended)
        if last > first:
            total += last - first
            reached = last
    return total
