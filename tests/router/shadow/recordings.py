"""Recordings of services that answer wrong in a known way: seeded, so that each run sees the same answers."""

import itertools
import json
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from router.comparing import NO_RULES, Rules
from router.metrics import Outcome
from router.shadow.compare import Answer, compare
from router.shadow.noise import drawn
from router.shadow.runner import Job, Later, Verdict, fields_of, run
from router.shadow.verdicts import FieldCounts, RouteCounts

Document = dict[str, Any]
NOISE_SHARE = 0.05


def answer(value: Any, status: int = 200) -> Answer:
    """Return a JSON answer."""
    return Answer(status=status, content_type="application/json", body=json.dumps(value).encode())


@dataclass
class World:
    """What both sides answer to request number ``n``, asked for the ``i``-th time."""

    legacy: Callable[[int, int], Answer]
    service: Callable[[int, int], Answer]
    follows: bool = False


def document(n: int) -> Document:
    """Return what both sides are to say to a request."""
    return {
        "id": n,
        "total": f"{n % 90 + 10}.50",
        "status": "paid",
        "lines": [{"sku": f"s{n % 7 + line}", "quantity": line + 1} for line in range(3)],
    }


@dataclass
class Recorded:
    """What each way of judging got to see of the same answers."""

    counts: dict[str, FieldCounts] = field(default_factory=dict)
    compared: int = 0
    changed: int = 0
    asked_twice: int = 0
    noisy: int = 0
    differed: int = 0
    unsteady: int = 0
    raw: dict[str, int] = field(default_factory=dict)
    """Diffy's: the fields in which primary and candidate differed."""
    noise: dict[str, int] = field(default_factory=dict)
    """Diffy's: the fields in which primary and secondary differed; it asks both each time."""
    unequal: int = 0
    """Scientist's: the experiments whose two answers were not equal."""

    def route(self) -> RouteCounts:
        """Return the counts as they are read from the database."""
        return RouteCounts(
            route="list",
            store="shared",
            compared=self.compared,
            asked_twice=self.asked_twice,
            changed=self.changed,
            noisy=self.noisy,
            differed=self.differed,
            unsteady=self.unsteady,
            fields=tuple(self.counts.values()),
        )

    def add(self, verdict: Verdict) -> None:
        """Count a verdict as ``tally`` does."""
        stayed = fields_of(verdict.differences)
        if verdict.outcome is Outcome.ERROR:
            stayed = frozenset({f"(error {verdict.cause})"})
        self.compared += 1
        self.changed += verdict.outcome is Outcome.CHANGED
        self.differed += verdict.outcome in {Outcome.MISMATCH, Outcome.ERROR}
        self.asked_twice += verdict.noise is not None
        self.noisy += bool(verdict.noise)
        self.unsteady += bool(verdict.unsteady)
        for name in verdict.raw | stayed | (verdict.noise or frozenset()) | fields_of(verdict.unsteady):
            one = self.counts.get(name, FieldCounts(field=name))
            self.counts[name] = replace(
                one,
                raw=one.raw + (name in verdict.raw),
                stayed=one.stayed + (name in stayed),
                noise=one.noise + (name in (verdict.noise or ())),
                unsteady=one.unsteady + (name in fields_of(verdict.unsteady)),
            )


def play(world: World, requests: int, rules: Rules = NO_RULES) -> Recorded:
    """Let clients make requests; compare each as the pool does, as Diffy does and as Scientist does."""
    found = Recorded()
    for n in range(requests):
        legacy, service = _asked(world.legacy, n), _asked(world.service, n)
        given = next(legacy)
        found.add(_compared(world, n, given, legacy, service, rules))
        _diffy_and_scientist(found, world, n, given)
    return found


def _asked(side: Callable[[int, int], Answer], n: int) -> Iterator[Answer]:
    return (side(n, i) for i in itertools.count())


def _compared(
    world: World, n: int, given: Answer, legacy: Iterator[Answer], service: Iterator[Answer], rules: Rules
) -> Verdict:
    job = Job(
        service="orders",
        store="shared",
        route="list",
        method="GET",
        path=f"/api/orders/{n}/",
        given=given,
        ask_copy=lambda: next(service),
        ask_again=lambda: next(legacy),
        follows=world.follows,
        rules=rules,
        ask_twice=drawn(f"{n}") < NOISE_SHARE,
    )
    while isinstance(verdict := run(job), Later):
        job = verdict.job
    return verdict


def _diffy_and_scientist(found: Recorded, world: World, n: int, given: Answer) -> None:
    """Ask candidate and secondary once each, as Diffy does; an error of the candidate is an answer to it."""
    try:
        candidate = world.service(n, 0)
    except OSError:
        candidate = answer({}, status=500)
    raw = fields_of(compare(given, candidate))
    for name in raw:
        found.raw[name] = found.raw.get(name, 0) + 1
    for name in fields_of(compare(given, world.legacy(n, 1))):
        found.noise[name] = found.noise.get(name, 0) + 1
    found.unequal += bool(raw)


def diffy(found: Recorded) -> frozenset[str]:
    """Return the fields that Diffy reports: raw > noise, relative difference > 20 %, absolute > 0.03 %."""
    reported = set()
    for name, raw in found.raw.items():
        noise = found.noise.get(name, 0)
        relative = abs(raw - noise) / (raw + noise) * 100
        absolute = abs(raw - noise) / found.compared * 100
        if raw > noise and relative > 20 and absolute > 0.03:
            reported.add(name)
    return frozenset(reported)


def seeded(*parts: object) -> random.Random:
    """Return chance that is the same each time for the same request."""
    return random.Random(zlib.crc32(repr(parts).encode()))
