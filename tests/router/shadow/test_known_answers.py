"""Services that are wrong in a known way: the right verdict, the right field, and nothing where nobody can tell.

Beside it, on the same answers: Diffy's published rule, and equality as GitHub's Scientist and laboratory have it.
"""

import functools
from dataclasses import dataclass, replace

import pytest

from router.comparing import NO_RULES, Rules, within_seconds
from router.shadow.verdicts import FieldCounts, RouteCounts, Says, judge
from tests.router.shadow.recordings import Recorded, World, diffy, play
from tests.router.shadow.worlds import (
    RIGHT,
    behind,
    both,
    clock,
    failing,
    flips,
    flips_for_few,
    noisy,
    shuffled,
    slow,
    wrong_at_random,
    wrong_total,
)

PASS, FAIL, INCONCLUSIVE = Says.PASS, Says.FAIL, Says.INCONCLUSIVE
NOISE = tuple(f"noise{number}" for number in range(7))
RARE = tuple(f"rare{number}" for number in range(8))
LINES = ("lines[].quantity", "lines[].sku")
NONE: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Case:
    """A world, how long it is watched, and what has to be said of it."""

    world: World
    requests: int
    says: Says
    failing: tuple[str, ...] = NONE
    proposals: tuple[str, ...] = NONE
    rules: Rules = NO_RULES
    diffy: tuple[str, ...] = NONE
    """What Diffy reports of the same answers."""
    unequal: bool = False
    """Whether Scientist and laboratory report any of them."""


REFUSED = ("(status)", "(body)")
CASES = {
    "equal": Case(world=World(RIGHT, RIGHT), requests=600, says=PASS),
    "equal, and few": Case(world=World(RIGHT, RIGHT), requests=50, says=INCONCLUSIVE),
    "one wrong in 1000": Case(
        world=both(service=(wrong_total(1000),)),
        requests=8000,
        says=FAIL,
        failing=("total",),
        diffy=("total",),
        unequal=True,
    ),
    "one wrong in 1000, and too few to tell": Case(
        world=both(service=(wrong_total(1000),)), requests=1000, says=INCONCLUSIVE, diffy=("total",), unequal=True
    ),
    "70 % of the fields are noise": Case(
        world=both(noisy("l"), service=(noisy("s"),)), requests=200, says=INCONCLUSIVE, proposals=NOISE, unequal=True
    ),
    "70 % noise, left out by rules": Case(
        world=both(noisy("l"), service=(noisy("s"),)),
        requests=600,
        says=PASS,
        rules=Rules(ignore=NOISE),
        unequal=False,
    ),
    "a defect among 70 % noise": Case(
        world=both(noisy("l"), service=(noisy("s"), wrong_total(5))),
        requests=300,
        says=FAIL,
        failing=("total",),
        proposals=NOISE,
        diffy=("total",),
        unequal=True,
    ),
    "eight fields that are seldom noisy": Case(
        world=both(
            *(flips("l", 0.002, name) for name in RARE), service=tuple(flips("s", 0.002, name) for name in RARE)
        ),
        requests=3000,
        says=PASS,
        unequal=True,
    ),
    "one in 20 is wrong at random": Case(
        world=both(service=(wrong_at_random(0.05),)), requests=2000, says=INCONCLUSIVE, diffy=("total",), unequal=True
    ),
    "one in 100 is wrong at random": Case(
        world=both(service=(wrong_at_random(0.01),)), requests=4000, says=INCONCLUSIVE, diffy=("total",), unequal=True
    ),
    "as much noise on both sides": Case(
        world=both(flips("l", 0.05), service=(flips("s", 0.05),)),
        requests=4000,
        says=INCONCLUSIVE,
        proposals=("eta",),
        unequal=True,
    ),
    "noise in one of 100 requests": Case(
        world=both(flips_for_few("l", 100), service=(flips_for_few("s", 100),)),
        requests=40_000,
        says=INCONCLUSIVE,
        unequal=True,
    ),
    "lines in any order": Case(
        world=both(shuffled("l"), service=(shuffled("s"),)),
        requests=300,
        says=INCONCLUSIVE,
        proposals=LINES,
        unequal=True,
    ),
    "lines in any order, which a rule allows": Case(
        world=both(shuffled("l"), service=(shuffled("s"),)), requests=600, says=PASS, rules=Rules(unordered=["lines"])
    ),
    "lines in any order, paired by a field": Case(
        world=both(shuffled("l"), service=(shuffled("s"),)),
        requests=600,
        says=PASS,
        rules=Rules(unordered=["lines"], keyed={"lines": "quantity"}),
    ),
    "only the service has no order": Case(
        world=both(service=(shuffled("s"),)), requests=300, says=FAIL, failing=LINES, diffy=LINES, unequal=True
    ),
    "a wrong clock": Case(
        world=both(clock(0), service=(clock(3),)),
        requests=300,
        says=FAIL,
        failing=("served_at",),
        diffy=("served_at",),
        unequal=True,
    ),
    "a wrong clock, which a rule allows": Case(
        world=both(clock(0), service=(clock(3),)),
        requests=600,
        says=PASS,
        rules=Rules(tolerances={"served_at": within_seconds(5)}),
    ),
    "sync is behind": Case(
        world=World(RIGHT, behind(1), follows=True), requests=900, says=PASS, diffy=("status",), unequal=True
    ),
    "sync never brings it": Case(
        world=World(RIGHT, behind(99), follows=True),
        requests=300,
        says=FAIL,
        failing=("status",),
        diffy=("status",),
        unequal=True,
    ),
    "the service breaks off": Case(
        world=World(RIGHT, failing(20)),
        requests=600,
        says=FAIL,
        failing=("(error ConnectionResetError)",),
        diffy=("(status)", "id", "lines", "status", "total"),
        unequal=True,
    ),
    "the service is too slow": Case(
        world=World(RIGHT, slow(20)),
        requests=600,
        says=FAIL,
        failing=("(error TimeoutError)",),
        diffy=("(status)", "id", "lines", "status", "total"),
        unequal=True,
    ),
}


@functools.cache
def played(name: str) -> Recorded:
    """Play a case once for all tests of it."""
    case = CASES[name]
    return play(case.world, case.requests, case.rules)


@pytest.mark.any_database
@pytest.mark.parametrize("name", CASES)
def test_the_verdict_and_the_field(name: str) -> None:
    case, verdict = CASES[name], judge(played(name).route())
    assert (verdict.says, sorted(verdict.failing)) == (case.says, sorted(case.failing)), verdict
    assert sorted(verdict.proposals) == sorted(case.proposals)


@pytest.mark.any_database
@pytest.mark.parametrize("name", CASES)
def test_what_diffy_and_equality_make_of_the_same_answers(name: str) -> None:
    case, recorded = CASES[name], played(name)
    if case.rules is NO_RULES:
        assert sorted(diffy(recorded)) == sorted(case.diffy)
        assert bool(recorded.unequal) == case.unequal


@pytest.mark.any_database
@pytest.mark.parametrize("name", ["one in 20 is wrong at random", "one in 100 is wrong at random"])
def test_a_service_that_is_right_when_it_is_asked_again_does_not_pass_for_that(name: str) -> None:
    """Nothing stays different, so without a look at what was wrong at first only it would be as good as equal."""
    counts = played(name).route()
    assert "total" in judge(counts).why
    unseen = replace(counts, unsteady=0, fields=tuple(replace(one, unsteady=0) for one in counts.fields))
    assert (judge(unseen).says, judge(counts.times(20)).says) == (PASS, INCONCLUSIVE)


@pytest.mark.any_database
def test_no_samples_are_inconclusive_and_say_how_many_are_needed() -> None:
    verdict = judge(RouteCounts(route="list"))
    assert (verdict.says, verdict.why) == (INCONCLUSIVE, "nothing was compared")
    assert verdict.missing == 539


@pytest.mark.any_database
@pytest.mark.parametrize(("asked_twice", "proposed"), [(2, False), (10, True)])
def test_nothing_is_called_noise_for_one_answer_that_moved(asked_twice: int, proposed: bool) -> None:
    """A page that names the minute differs from itself when the minute ends, which says little after two samples."""
    moved = FieldCounts(field="created", raw=1, noise=asked_twice // 2)
    verdict = judge(RouteCounts(route="list", compared=47, asked_twice=asked_twice, fields=(moved,)))
    assert (verdict.says, bool(verdict.proposals)) == (INCONCLUSIVE, proposed)


@pytest.mark.any_database
@pytest.mark.parametrize("name", ["equal, and few", "one wrong in 1000, and too few to tell"])
def test_as_many_more_as_it_asks_for_are_enough(name: str) -> None:
    case = CASES[name]
    first = judge(played(name).route())
    assert first.missing is not None
    assert judge(first.counts.times(1 + first.missing / case.requests)).says is not INCONCLUSIVE
    assert judge(first.counts.times(1 + first.missing / case.requests * 0.9)).says is INCONCLUSIVE
