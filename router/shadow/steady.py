"""Which differences stay: those in fields in which each side, asked twice, says the same twice."""

from collections.abc import Iterable, Iterator

from router.shadow.difference import Difference

WHOLE = "(body)"
"""Where a body differs as a whole, or an array that is the whole body has grown."""


def stayed(differences: Iterable[Difference], moved: Iterable[Difference]) -> tuple[Difference, ...]:
    """Return the differences between the sides in fields in which neither has differed from itself.

    A side that answers anew is free to move in one field while another is plainly wrong, so each is judged on its own:
    all positions of a field together, since the odds that noise alone comes this far are reckoned for the field. What
    has moved takes everything in it along, and what it is in: an array that has grown has other elements at its places.
    """
    fields = {one.field for one in moved}
    if WHOLE in fields:
        return tuple(one for one in differences if one.field.startswith("(") and one.field not in fields)
    around = {above for field in fields for above in _above(field)}
    return tuple(
        one
        for one in differences
        if one.field not in fields
        and one.field not in around
        and not any(above in fields for above in _above(one.field))
    )


def _above(field: str) -> Iterator[str]:
    """Yield everything that a field is in."""
    for at, character in enumerate(field):
        if at and character in ".[":
            yield field[:at]
