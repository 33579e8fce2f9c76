"""Find card numbers in text: by how they are written, and by the checksum that every one of them carries."""

import re
from collections.abc import Iterator

WRITTEN = re.compile(
    r"(?<![\w.])\d(?:[ \-\u2010-\u2015/\u00a0\u202f]{0,2}\d){11,40}(?!\w)|(?<!\d)\d{4}(?:\.\d{4}){2}\.\d{1,7}(?!\d)"
)
"""Digits as people and programs write a card number: in one piece, or in groups."""
LONG = re.compile(r"\d{12,}")
"""Digits within a word: ``card4111111111111111``."""
BRANDS = re.compile(
    r"""4(?:\d{12}|\d{15}|\d{18})                                # Visa
    | (?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}  # Mastercard
    | 3[47]\d{13}                                                # American Express
    | (?:6011|65\d\d|64[4-9]\d)\d{12}(?:\d{3})?                  # Discover
    | 3(?:0[0-5]|[689]\d)\d{11}(?:\d{2})?                        # Diners Club
    | 35(?:2[89]|[3-8]\d)\d{12}                                  # JCB
    | 62\d{14,17}                                                # UnionPay
    | (?:50|5[6-9]|6[0-9])\d{10,17}                              # Maestro""",
    re.VERBOSE,
)
SHORTEST, LONGEST = 12, 19


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield where card numbers stand in a text, with what belongs to the same run of digits."""
    for pattern in (WRITTEN, LONG):
        for found in pattern.finditer(text):
            digits = "".join(str(int(character)) for character in found[0] if character.isdigit())
            if holds_card(digits):
                yield found.span()


def holds_card(digits: str) -> bool:
    """Return whether digits are a card number, or hold one of a known brand among others."""
    if 13 <= len(digits) <= LONGEST and checks(digits):
        return True
    for start in range(len(digits) - SHORTEST + 1):
        for length in range(SHORTEST, min(LONGEST, len(digits) - start) + 1):
            part = digits[start : start + length]
            if BRANDS.fullmatch(part) and checks(part):
                return True
    return False


def checks(digits: str) -> bool:
    """Return whether the last digit is Luhn's checksum of the others; a row of zeros is no card."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0 and digits.strip("0") != ""
