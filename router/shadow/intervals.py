"""How sure counts make one of a share."""

from math import sqrt

Z_SURE = 3.09
"""One-sided 99.9 %: what it takes to call something a defect. Many fields are looked at, again and again."""
Z_NOISE = 2.326
"""One-sided 99 %: how noisy a side may be at most, of which a defect has to stand out."""
Z_ENOUGH = 1.645
"""One-sided 95 %: what it takes to say that there is no more than so much."""


def wilson(hits: float, total: float, z: float) -> tuple[float, float]:
    """Return the Wilson interval of a share; from nothing at all it is everything."""
    if total <= 0:
        return 0.0, 1.0
    share, square = min(1.0, hits / total), z * z
    middle = share + square / (2 * total)
    spread = z * sqrt(share * (1 - share) / total + square / (4 * total * total))
    scale = 1 + square / total
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def by_chance(noise: float, rounds: int, *, seen: bool) -> float:
    """Return how often noise alone can make two sides differ that both say the same twice, at most.

    Let both sides draw from the same values, value ``a`` with the probability ``p(a)``. Asked twice a side differs from
    itself with the probability ``q = 1 - sum p(a)^2``, the noise. That one says ``a`` twice and the other ``b`` twice
    has the probability ``sum over a != b of p(a)^2 p(b)^2``, which is at most ``(sum over a != b of p(a) p(b))^2 / 2``,
    and that is ``q^2 / 2``. Each further round in which both are asked again is another chance.

    That takes all requests for alike. Where few of them carry all of the noise, ``noise`` is a mean of theirs, and the
    mean of squares is larger than the square of the mean; but since ``p(a) p(b)`` is at most 1/4, it is at most
    ``q / 4``. So that is the bound once noise was ``seen`` at all.
    """
    return min(1.0, rounds * (noise / 4 if seen else noise * noise / 2))
