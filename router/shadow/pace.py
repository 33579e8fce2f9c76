"""Notice that a side answers more slowly than it used to; a few additions per request, whatever the traffic."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

SLICES = 10
"""Parts of the window over which a side's recent pace is taken."""
ENOUGH = 20
"""Fewer answers than this in the window prove nothing; a route's own pace is known after as many."""
WORST = 5.0
"""One answer counts as at most so many of its route's usual ones, so that a single one proves nothing either."""
NOISE_SECONDS = 0.001
"""Answers that are later by less than this, on average, are not slow."""
MEMORY_SECONDS = 60.0
"""How long it takes a route's usual pace to follow, while all is well."""
SLOW_MEMORY_SECONDS = 20.0
"""And while the side is slow, without anything being compared: what stays slow then is not slow because of that."""
LONGEST_SECONDS = 300.0
"""Switched off again and again, it stays off for longer each time, up to this."""


@dataclass
class _Usual:
    """What a route's answers usually take."""

    seconds: float
    answers: int
    at: float


@dataclass
class _Slice:
    number: int = -1
    answers: int = 0
    spent: float = 0.0
    usual: float = 0.0


class Pace:
    """How fast one side answers, compared with itself: route by route, so that another mix of routes is no slowdown."""

    def __init__(self, *, factor: float, window: float, clock: Callable[[], float] = monotonic) -> None:
        self.factor = factor
        """The side is slow at so many times its usual pace, and well again half-way back."""
        self.window = window
        self.slow = False
        self._clock = clock
        self._lock = threading.Lock()
        self._usual: dict[str, _Usual] = {}
        self._slices = [_Slice() for _ in range(SLICES)]
        self._judged = 0.0
        self._ratio = 1.0
        self._since = clock()
        """When ``slow`` changed last."""
        self._off_for = window
        self._times = 0
        """How often it was found to be slow."""

    def observe(self, route: str, seconds: float) -> bool:
        """Take note of one answer; return whether ``slow`` has changed by it."""
        with self._lock:
            now = self._clock()
            self._add(route, seconds, now)
            if now - self._judged < self.window / SLICES:
                return False
            self._judged = now
            return self._judge(now)

    @property
    def ratio(self) -> float:
        """Return how many times the usual the answers had taken when ``slow`` changed last; 1.0 before it did."""
        return self._ratio

    def _add(self, route: str, seconds: float, now: float) -> None:
        usual = self._usual.get(route)
        if usual is None:
            self._usual[route] = _Usual(seconds, 1, now)
            return
        counted = min(seconds, WORST * max(usual.seconds, NOISE_SECONDS))
        if usual.answers >= ENOUGH:
            part = self._slice(now)
            part.answers += 1
            part.spent += counted
            part.usual += usual.seconds
            memory = SLOW_MEMORY_SECONDS if self.slow else MEMORY_SECONDS
            weight = min(1 / ENOUGH, (now - usual.at) / memory)
        else:
            weight = 1 / (usual.answers + 1)
        usual.seconds += weight * (counted - usual.seconds)
        usual.answers += 1
        usual.at = now

    def _slice(self, now: float) -> _Slice:
        number = int(now / (self.window / SLICES))
        part = self._slices[number % SLICES]
        if part.number != number:
            part.number, part.answers, part.spent, part.usual = number, 0, 0.0, 0.0
        return part

    def _totals(self, now: float) -> tuple[int, float, float]:
        oldest = int(now / (self.window / SLICES)) - SLICES + 1
        parts = [part for part in self._slices if part.number >= oldest]
        return sum(p.answers for p in parts), sum(p.spent for p in parts), sum(p.usual for p in parts)

    def _judge(self, now: float) -> bool:
        answers, spent, usual = self._totals(now)
        late = spent - usual > NOISE_SECONDS * answers
        if not self.slow:
            if answers >= ENOUGH and late and spent > self.factor * usual:
                self._switch(now, spent / usual if usual else WORST, slow=True)
                return True
        elif now - self._since >= self._off_for:
            half_way = 1 + (self.factor - 1) / 2
            if answers < ENOUGH or not late or spent < half_way * usual:
                self._switch(now, spent / usual if usual else 1.0, slow=False)
                return True
        return False

    def _switch(self, now: float, ratio: float, *, slow: bool) -> None:
        if slow:
            again = self._times and now - self._since < LONGEST_SECONDS
            self._off_for = min(LONGEST_SECONDS, 2 * self._off_for) if again else self.window
            self._times += 1
        self.slow, self._since, self._ratio = slow, now, ratio
        for part in self._slices:
            part.number = -1
