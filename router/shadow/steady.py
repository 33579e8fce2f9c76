"""Which differences stay: those in places where each side, asked twice, says the same twice."""

from collections.abc import Iterable, Iterator

from router.shadow.difference import Difference

WHOLE = "(body)"
"""Where a body differs as a whole, or an array that is the whole body has grown."""


def stayed(differences: Iterable[Difference], moved: Iterable[Difference]) -> tuple[Difference, ...]:
    """Return the differences between the sides in places where neither has differed from itself.

    A side that answers anew is free to move in one field while another is plainly wrong, so each place is judged on
    its own. What has moved takes everything in it along, and what it is in: an array that has grown has other elements
    at its places.
    """
    places = {one.path for one in moved}
    around = {above for place in places for above in _above(place)}
    if WHOLE in places:
        return tuple(one for one in differences if one.path.startswith("(") and one.path not in places)
    return tuple(
        one
        for one in differences
        if one.path not in places and one.path not in around and not any(above in places for above in _above(one.path))
    )


def _above(path: str) -> Iterator[str]:
    """Yield the paths of everything that a place is in."""
    for at, character in enumerate(path):
        if at and character in ".[":
            yield path[:at]
