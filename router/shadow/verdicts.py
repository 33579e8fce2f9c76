"""Judge counts of comparisons: per field and per route pass, fail or inconclusive, and what is missing to tell."""

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import ceil

from router.shadow.intervals import Z_ENOUGH, Z_NOISE, Z_SURE, by_chance, wilson
from router.shadow.runner import MAX_ROUNDS

NEVER_LEFT_OUT = ("(status)", "(error", "(content type)", "(any field)", "(changed)", "(other fields)")
"""Fields that say whether there was an answer at all, and names that stand for several."""


class Says(enum.StrEnum):
    """What counts say of a field or a route."""

    PASS = "pass"
    """It differs seldom enough, and that is sure."""
    FAIL = "fail"
    """It differs by more than chance and noise explain."""
    INCONCLUSIVE = "inconclusive"
    """Nobody can tell yet; no samples is always this."""


@dataclass(frozen=True, kw_only=True)
class Standard:
    """What is asked of a route before it passes."""

    min_rate: float = 0.995
    """The share of answers that has to agree, with 95 % confidence."""
    min_samples: int = 1
    allowed: float = 0.0
    """The share of answers in which a field may differ for certain and not fail its route."""
    ceiling: float = 0.3
    """A field in which a side differs from itself more often than this cannot be judged."""
    min_noise: int = 10
    """How often a side has to have been asked twice before a field passes that has differed."""


STANDARD = Standard()


@dataclass(frozen=True, kw_only=True)
class FieldCounts:
    """What was counted of one field of one route."""

    field: str
    raw: float = 0
    """Comparisons in which it differed at first."""
    stayed: float = 0
    """Comparisons in which it still differed when both sides were asked again, and each said the same twice."""
    noise: float = 0
    """Times the side that answered, asked twice, differed from itself in it."""
    unsteady: float = 0
    """Comparisons in which the service was wrong at first only, while the side that answered had not moved."""

    def times(self, factor: float) -> "FieldCounts":
        """Return what so many times as many comparisons of the same kind would come to."""
        return FieldCounts(
            field=self.field,
            raw=self.raw * factor,
            stayed=self.stayed * factor,
            noise=self.noise * factor,
            unsteady=self.unsteady * factor,
        )

    @property
    def is_failure(self) -> bool:
        """Whether this is no field, but a way in which the service failed to answer."""
        return self.field.startswith("(error")

    @property
    def may_be_left_out(self) -> bool:
        """Whether somebody may decide that it is not compared."""
        return not self.field.startswith(NEVER_LEFT_OUT)


@dataclass(frozen=True, kw_only=True)
class RouteCounts:
    """What was counted of one route in comparisons with one store."""

    route: str
    store: str = ""
    compared: float = 0
    """Comparisons that were made, failures of the service among them."""
    asked_twice: float = 0
    """Times the side that answered was asked twice."""
    changed: float = 0
    """Comparisons that came to nothing, because what differed did not stay."""
    noisy: float = 0
    """Times the side that answered, asked twice, differed from itself anywhere."""
    differed: float = 0
    """Comparisons that came to a mismatch or to a failure of the service."""
    unsteady: float = 0
    """Comparisons in which the service was wrong at first only in any field."""
    fields: tuple[FieldCounts, ...] = ()

    @property
    def settled(self) -> float:
        """Return how many comparisons say whether the answers as a whole agree."""
        return max(0.0, self.compared - self.changed)

    def of(self, one: FieldCounts) -> float:
        """Return how many comparisons say something of a field: not those in which it differed and did not stay so."""
        return max(one.stayed, self.compared - max(0.0, one.raw - one.stayed))

    def times(self, factor: float) -> "RouteCounts":
        """Return the counts that so many times as many comparisons of the same kind would come to."""
        return replace(
            self,
            compared=self.compared * factor,
            asked_twice=self.asked_twice * factor,
            changed=self.changed * factor,
            noisy=self.noisy * factor,
            differed=self.differed * factor,
            unsteady=self.unsteady * factor,
            fields=tuple(one.times(factor) for one in self.fields),
        )


@dataclass(frozen=True, kw_only=True)
class FieldVerdict:
    """What counts say of one field."""

    counts: FieldCounts
    says: Says
    why: str
    differs: tuple[float, float]
    """The 99.9 % bounds of the share of answers in which it stays different."""
    noise: tuple[float, float]
    """The 99.9 % bounds of the share of answers in which a side differs from itself."""
    too_noisy: bool = False
    missing: int | None = None
    """Comparisons that would settle it if they went on like this; None where none would."""


@dataclass(frozen=True, kw_only=True)
class RouteVerdict:
    """What counts say of one route."""

    counts: RouteCounts
    says: Says
    why: str
    fields: tuple[FieldVerdict, ...] = ()
    missing: int | None = None

    @property
    def failing(self) -> tuple[str, ...]:
        """Return the fields that differ for certain."""
        return tuple(one.counts.field for one in self.fields if one.says is Says.FAIL)

    @property
    def proposals(self) -> tuple[str, ...]:
        """Return the fields that differ on both sides, so that a rule should say what of them counts."""
        return tuple(one.counts.field for one in self.fields if one.too_noisy)


def judge(counts: RouteCounts, standard: Standard = STANDARD) -> RouteVerdict:
    """Judge a route by its counts, each field by itself."""
    fields = tuple(sorted((_field(one, counts, standard) for one in counts.fields), key=lambda one: -one.counts.stayed))
    says, why = _route(counts, fields, standard)
    found = RouteVerdict(counts=counts, says=says, why=why, fields=fields)
    if says is not Says.INCONCLUSIVE:
        return found
    return replace(found, missing=missing(counts, standard))


def missing(counts: RouteCounts, standard: Standard = STANDARD) -> int | None:
    """Return how many more comparisons like those made would settle a route; None where they would not."""
    if not counts.compared:
        return max(standard.min_samples, _needed(standard.min_rate))
    usual = _with_noise(counts)
    return _more(counts.compared, lambda factor: _settled(usual.times(factor), standard))


def _with_noise(counts: RouteCounts) -> RouteCounts:
    """Return counts to reckon further with: where nobody was asked twice yet, that will come."""
    return counts if counts.asked_twice else replace(counts, asked_twice=counts.compared * USUAL_SHARE)


def _settled(counts: RouteCounts, standard: Standard) -> bool:
    fields = tuple(_judged(one, counts, standard)[0] for one in counts.fields)
    return _of_route(counts, fields, standard)[0] is not Says.INCONCLUSIVE


def _field(one: FieldCounts, counts: RouteCounts, standard: Standard) -> FieldVerdict:
    says, why, too_noisy = _judged(one, counts, standard)
    needed = None
    if says is Says.INCONCLUSIVE and not too_noisy and counts.compared:
        usual = _with_noise(counts)
        needed = _more(counts.compared, lambda factor: _settles(one, usual, standard, factor))
        # No number of samples will do, and it is noise that stands in the way; a few samples of noise say neither.
        known = counts.asked_twice >= standard.min_noise
        noise_low = wilson(one.noise, counts.asked_twice, Z_ENOUGH)[0]
        too_noisy = needed is None and known and noise_low > 1 - standard.min_rate
    return FieldVerdict(
        counts=one,
        says=says,
        why=why,
        differs=wilson(one.stayed, counts.of(one), Z_SURE),
        noise=wilson(one.noise, counts.asked_twice, Z_SURE),
        too_noisy=too_noisy,
        missing=needed,
    )


def _settles(one: FieldCounts, counts: RouteCounts, standard: Standard, factor: float) -> bool:
    return _judged(one.times(factor), counts.times(factor), standard)[0] is not Says.INCONCLUSIVE


def _judged(one: FieldCounts, counts: RouteCounts, standard: Standard) -> tuple[Says, str, bool]:
    """Return what a field's counts say, why in a sentence, and whether it is too noisy to be judged."""
    worst = 1 - standard.min_rate
    low = wilson(one.stayed, counts.of(one), Z_SURE)[0]
    most = wilson(one.stayed, counts.of(one), Z_ENOUGH)[1]
    if one.is_failure:
        # An answer that is not there is no noise: it is held against the share that may differ, and nothing else.
        if low > worst:
            return Says.FAIL, f"the service fails in this way in at least {low:.3%} of the answers", False
        return (Says.PASS, "seldom enough", False) if most <= worst else (Says.INCONCLUSIVE, "too few samples", False)
    noise_low = wilson(one.noise, counts.asked_twice, Z_SURE)[0]
    chance = _chance(one.noise, counts)
    if one.stayed and low > max(chance, standard.allowed):
        return Says.FAIL, f"stays different in at least {low:.3%} of the answers; noise explains {chance:.3%}", False
    if wilson(one.noise, counts.asked_twice, Z_ENOUGH)[0] > standard.ceiling:
        why = f"differs on one side alone in at least {noise_low:.1%} of the answers: noise"
        return Says.INCONCLUSIVE, why, True
    if counts.asked_twice < standard.min_noise:
        return Says.INCONCLUSIVE, "its noise is not known yet", False
    unsteady = _unsteady(one.unsteady, one.noise, counts, worst)
    if unsteady:
        return Says.INCONCLUSIVE, unsteady, False
    if most <= worst and (not one.stayed or low <= standard.allowed):
        return Says.PASS, f"stays different in at most {most:.3%} of the answers", False
    if most <= worst:
        return (
            Says.INCONCLUSIVE,
            f"stays different now and then, in at most {most:.3%}: too few samples to say why",
            False,
        )
    return Says.INCONCLUSIVE, f"too few samples to tell {most:.3%} from {worst:.3%}", False


def _chance(noise: float, counts: RouteCounts) -> float:
    """Return how often noise alone makes sides differ for good, at most."""
    return by_chance(wilson(noise, counts.asked_twice, Z_NOISE)[1], MAX_ROUNDS, seen=noise > 0)


def _unsteady(unsteady: float, noise: float, counts: RouteCounts, worst: float) -> str:
    """Return why nobody may pass a service that now and then is wrong, and right when it is asked again; else nothing.

    Let ``q`` be how often a side differs from itself. That one says ``a`` twice and the other once something else, and
    then ``a``, has a probability of at most ``sum p(a)^2 (1 - p(a)) <= q``: so much of it noise explains.
    """
    low, most = wilson(unsteady, counts.compared, Z_SURE)[0], wilson(unsteady, counts.compared, Z_ENOUGH)[1]
    explained = wilson(noise, counts.asked_twice, Z_NOISE)[1]
    if low > max(worst, explained):
        return (
            f"the service is wrong at first in at least {low:.3%} of the answers, and right when it is asked again; "
            f"noise explains {explained:.3%}"
        )
    known = noise / counts.asked_twice if counts.asked_twice else 0.0
    if unsteady and most > max(worst, known):
        return (
            f"the service is wrong at first in up to {most:.3%} of the answers; whether that is noise is not known yet"
        )
    return ""


def _route(counts: RouteCounts, fields: tuple[FieldVerdict, ...], standard: Standard) -> tuple[Says, str]:
    says, why = _of_route(counts, tuple(one.says for one in fields), standard)
    named = [one.counts.field for one in fields if one.says is says]
    return says, f"{why}: {', '.join(named[:5])}" if named and says is not Says.PASS else why


def _of_route(counts: RouteCounts, fields: Iterable[Says], standard: Standard) -> tuple[Says, str]:
    found = set(fields)
    if not counts.compared:
        return Says.INCONCLUSIVE, "nothing was compared"
    if Says.FAIL in found:
        return Says.FAIL, "fields differ for certain"
    # What came to nothing may have agreed or not: it counts for nobody, so each bound takes it as it is worse.
    low, high = (
        wilson(counts.differed, counts.compared, Z_ENOUGH)[0],
        wilson(counts.differed, counts.settled, Z_ENOUGH)[1],
    )
    chance = _chance(counts.noisy, counts)
    if low > max(chance, 1 - standard.min_rate):
        return Says.FAIL, f"at least {low:.2%} of the answers differ; noise explains {chance:.2%}"
    if Says.INCONCLUSIVE in found:
        return Says.INCONCLUSIVE, "fields cannot be judged"
    if counts.settled < standard.min_samples:
        return Says.INCONCLUSIVE, "too few samples"
    unsteady = _unsteady(counts.unsteady, counts.noisy, counts, 1 - standard.min_rate)
    if unsteady:
        return Says.INCONCLUSIVE, unsteady
    if high > 1 - standard.min_rate:
        return Says.INCONCLUSIVE, f"up to {high:.2%} of the answers may differ"
    return Says.PASS, f"at most {high:.3%} of the answers differ"


USUAL_SHARE = 0.05
"""The share of comparisons in which a side is asked twice, unless settings say otherwise."""
MOST_FACTOR = 1_000.0
"""What would take more than so many times the samples there are is not worth waiting for."""


def _more(compared: float, settled: Callable[[float], bool]) -> int | None:
    """Return how many comparisons are missing if the share of everything stays what it is."""
    low, high = 1.0, 2.0
    while not settled(high):
        low, high = high, high * 2
        if high > MOST_FACTOR:
            return None
    while (high - low) * compared > 1:
        middle = (low + high) / 2
        low, high = (low, middle) if settled(middle) else (middle, high)
    return max(1, ceil(compared * (high - 1)))


def _needed(rate: float) -> int:
    """Return how many comparisons without a difference it takes to be sure of a rate."""
    worst = 1 - rate
    return ceil(Z_ENOUGH**2 * (1 - worst) / worst) if worst > 0 else 1
