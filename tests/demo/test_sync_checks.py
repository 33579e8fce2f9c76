"""Everything that can be wrong with two homes is planted once in sound evidence, and found."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from demo.homes import ONLY_OWN
from demo.planting import Plant
from demo.sync_checks import (
    Corruption,
    Found,
    Homes,
    Shadowed,
    Standstill,
    Synced,
    SyncFloors,
    not_mended,
    too_thin,
    unequal,
)
from demo.sync_tables import Delays

PLANTED = (
    Plant(what="an amount", where="the service's store", order_id=3, kind="changed"),
    Plant(what="an old version", where="the service's store", order_id=5, kind="version"),
)
CLEAN = Found(compared=600)


def sound_homes() -> Synced:
    return Synced(
        backfilled=(500,),
        delays=Delays(samples=80, p50=0.1, p99=0.4, slowest=0.5),
        corruption=Corruption(
            planted=PLANTED,
            seen={3: "total is 1 in the shop and 2 at the service"},
            found=Found(compared=600, kinds={"3": "changed", "5": "version"}),
            repaired=CLEAN,
        ),
        standstills=tuple(
            Standstill(who=who, seconds=3.0, waited=9, caught_up=1.0) for who in ("the service", "the worker")
        ),
        shadowed=Shadowed(compared=200, matched=200),
        homes=Homes(shop=600, own=600, verification=CLEAN),
    )


FLOORS = SyncFloors(planted=2)


def test_sound_homes_hold() -> None:
    synced = sound_homes()
    assert (unequal(synced), not_mended(synced), too_thin(synced, FLOORS)) == ([], [], [])
    assert (synced.corruption.mended, synced.shadowed.rate) == (2, 1.0)


def at_the_end(**changes: Any) -> Synced:
    return replace(sound_homes(), homes=replace(sound_homes().homes, **changes))


@pytest.mark.parametrize(
    ("synced", "told"),
    [
        (at_the_end(differences={7: ONLY_OWN}), "order 7 is only in the service's store"),
        (at_the_end(own=599), "600 orders in the shop, 599 in the service's store"),
        (at_the_end(verification=Found()), "sync verify: 0 of 0 differ, 0 could not be told"),
        (at_the_end(verification=replace(CLEAN, kinds={"7": "extra"})), "sync verify: 1 of 600 differ"),
        (at_the_end(verification=replace(CLEAN, unresolved=2)), "sync verify: 0 of 600 differ, 2 could not be told"),
        (at_the_end(refused=3), "3 changes were not accepted"),
        (
            replace(sound_homes(), shadowed=Shadowed(compared=200, matched=199, wrong=1)),
            "1 of 200 shadowed reads differed or failed",
        ),
    ],
)
def test_homes_that_are_not_equal_are_told(synced: Synced, told: str) -> None:
    (problem,) = unequal(synced)
    assert told in problem


def found(kinds: dict[str, str]) -> Found:
    return Found(compared=600, kinds=kinds)


def corrupted(**changes: Any) -> Callable[[], Synced]:
    return lambda: replace(sound_homes(), corruption=replace(sound_homes().corruption, **changes))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            corrupted(found=Found(compared=600, kinds={"3": "changed"})),
            "an old version in the service's store, order 5",
        ),
        (
            corrupted(found=Found(compared=600, kinds={"3": "extra", "5": "version"})),
            "was found as extra, it is changed",
        ),
        (
            corrupted(found=Found(compared=600, kinds={"3": "changed", "5": "version", "9": "missing"})),
            "order 9 was found missing, nobody had touched it",
        ),
        (corrupted(seen={}), "the rows of order 3 differ in one count and not in the other"),
        (corrupted(seen={3: "x", 4: "y"}), "the rows of order 4 differ in one count and not in the other"),
        (corrupted(left={3: "total is 1"}), "order 3 total is 1, after the repair"),
        (corrupted(repaired=found({"3": "changed"})), "after the repair: 1 of 600 differ"),
        (corrupted(repaired=Found(compared=600, unresolved=1)), "after the repair: 0 of 600 differ, 1 could not"),
    ],
)
def test_corruption_that_stays_or_is_missed_is_told(change: Callable[[], Synced], told: str) -> None:
    (problem,) = not_mended(change())
    assert told in problem


def test_what_is_left_is_not_mended() -> None:
    synced = corrupted(left={3: "total is 1"})()
    assert synced.corruption.mended == 1
    assert corrupted(found=Found(compared=600))().corruption.mended == 0


@pytest.mark.parametrize(
    ("thin", "told"),
    [
        (at_the_end(own=499), "only 499 orders in both homes, 500 are needed"),
        (replace(sound_homes(), delays=Delays(samples=29)), "only 29 orders whose way was measured"),
        (corrupted(planted=PLANTED[:1])(), "only 1 corrupted orders"),
        (replace(sound_homes(), shadowed=Shadowed(compared=149, matched=149)), "only 149 reads compared"),
        (replace(sound_homes(), standstills=sound_homes().standstills[:1]), "only 1 standstills"),
        (
            replace(sound_homes(), standstills=[replace(one, waited=4) for one in sound_homes().standstills]),
            "only 4 orders that waited in the shortest standstill, 5 are needed",
        ),
    ],
)
def test_thin_sync_fails(thin: Synced, told: str) -> None:
    (problem,) = too_thin(thin, FLOORS)
    assert told in problem


def test_nothing_proves_nothing() -> None:
    assert len(too_thin(Synced(), SyncFloors())) == 6
    assert unequal(Synced()) == ["sync verify: 0 of 0 differ, 0 could not be told"]
    assert Shadowed().rate == 0.0
