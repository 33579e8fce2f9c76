"""Option values that several commands take."""

from argparse import ArgumentTypeError


def positive(text: str) -> int:
    """Return the whole number above 0 in an option's value."""
    number = natural(text)
    if number == 0:
        raise ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def natural(text: str) -> int:
    """Return the whole number, 0 or above, in an option's value."""
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"{text!r} is not a whole number, 0 or above")
    return int(text)
