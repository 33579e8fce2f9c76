"""What is broken when, and where buckets go: made of a seed alone, before anything runs."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

FROZEN_SECONDS = 1.0
FIRST, PAUSES = 1.0, (0.8, 2.5)
"""When the first strike comes, and how much later each next one, at least and at most."""
SERVERS = ("shop", "orders", "orders-own", "shop-internal")
DEATHS = 8
"""A coordinator that is to die does so at one of its first swaps, three to a bucket."""


@dataclass(frozen=True, kw_only=True)
class Strike:
    """One thing that is broken."""

    at: float
    do: str
    """``kill``, ``freeze``, ``cut`` the databases' connections, ``unplug`` the broker, kill it (``restart``), have it
    ``forget`` its disk as well, kill the ``coordinator``."""
    whom: str = ""

    def __str__(self) -> str:
        return f"{self.at:6.1f}  {self.do} {self.whom}".rstrip()


@dataclass(frozen=True, kw_only=True)
class Leg:
    """One way that buckets go."""

    to: str
    first: int
    """In percent of the buckets."""
    end: int
    death: tuple[str, int] | None = None
    """Whether its first coordinator dies before or after which of its swaps."""
    resumed: bool = False
    """Whether somebody calls the command that ends what is in between, before the next coordinator comes."""

    def __str__(self) -> str:
        dies = f", coordinator dies {self.death[0]} swap {self.death[1]}" if self.death else ""
        return f"{self.first}-{self.end} % to {self.to}{dies}{', then sync resume' if self.resumed else ''}"


def strikes(seed: int, seconds: float, *, postgres: bool, broker: bool) -> tuple[Strike, ...]:
    """Return what is broken within so many seconds; each thing comes once before any comes again."""
    dice = random.Random(f"{seed}-strikes")
    workers = ("worker",) if broker else ("relay", "chores")
    kinds = [("kill", whom) for whom in (*SERVERS, *workers)]
    kinds += [("freeze", whom) for whom in (*SERVERS, *workers)]
    kinds += [("coordinator", "")] * 3
    kinds += [("cut", "")] * 2 if postgres else []
    kinds += [("unplug", ""), ("restart", ""), ("forget", "")] if broker else []
    found, at, left = [], FIRST, list[tuple[str, str]]()
    while at < seconds:
        if not left:
            left = dice.sample(kinds, len(kinds))
        do, whom = left.pop()
        found.append(Strike(at=round(at, 1), do=do, whom=whom))
        at += dice.uniform(*PAUSES)
    return tuple(found)


def legs(seed: int, stops: int = 2) -> Iterator[Leg]:
    """Yield where buckets go, without end: all the way there with some stops, back with half as many, and so on."""
    dice = random.Random(f"{seed}-legs")
    while True:
        yield from _way("extracted", sorted(dice.sample(range(10, 90, 10), stops)), dice)
        yield from _way("legacy", sorted(dice.sample(range(10, 90, 10), stops // 2)), dice)


def _way(to: str, stops: Sequence[int], dice: random.Random) -> Iterator[Leg]:
    """Yield one way: the percentages grow on the way there, and shrink on the way back."""
    points = (0, *stops, 100)
    stretches = list(pairwise(points))
    for first, end in stretches if to == "extracted" else stretches[::-1]:
        dies = dice.random() < 0.5
        death = (dice.choice(("before", "after")), dice.randint(1, DEATHS)) if dies else None
        yield Leg(to=to, first=first, end=end, death=death, resumed=dice.random() < 0.5)
