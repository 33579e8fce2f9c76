"""How sure a share of samples makes one."""

from math import sqrt

CONFIDENCE_Z = 1.645
"""One-sided 95 % confidence."""


def wilson(hits: int, total: int, z: float = CONFIDENCE_Z) -> tuple[float, float]:
    """Return the Wilson interval of a rate; from nothing at all it is everything."""
    if total <= 0:
        return 0.0, 1.0
    rate, square = hits / total, z * z
    middle = rate + square / (2 * total)
    spread = z * sqrt(rate * (1 - rate) / total + square / (4 * total * total))
    scale = 1 + square / total
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def samples_for(rate: float, misses: int = 0) -> int:
    """Return how many samples with only ``misses`` misses it takes to be confident of ``rate``."""
    if rate >= 1:
        return 0
    low, high = misses, misses + 1
    while wilson(high - misses, high)[0] < rate:
        low, high = high, high * 2
    while low + 1 < high:
        middle = (low + high) // 2
        enough = wilson(middle - misses, middle)[0] >= rate
        low, high = (low, middle) if enough else (middle, high)
    return high
