"""How far two values may lie apart and still count as the same."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from router.comparing.errors import RuleMistake

Amount = Decimal | int | str
"""A number without rounding: ``Decimal("0.01")``, ``1`` or ``"0.01"``; no floats, which are not what they seem."""


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Make one of ``within``, ``within_share`` and ``within_seconds`` rather than this."""

    absolute: Decimal | None = None
    share: Decimal | None = None
    """Of the larger of both amounts."""
    seconds: Decimal | None = None

    def allows(self, left: Any, right: Any) -> bool:
        """Return whether both values are of the kind the tolerance is about, and near enough."""
        if self.seconds is not None:
            return _seconds_apart(left, right, self.seconds)
        one, other = _number(left), _number(right)
        if one is None or other is None or isinstance(left, str) != isinstance(right, str):
            return False
        apart = abs(one - other)
        if self.absolute is not None and apart <= self.absolute:
            return True
        return self.share is not None and apart <= self.share * max(abs(one), abs(other))

    def describe(self) -> str:
        """Say in a few words how much is allowed."""
        if self.seconds is not None:
            return f"within {self.seconds} s"
        told = [] if self.absolute is None else [str(self.absolute)]
        if self.share is not None:
            told.append(f"{self.share * 100} %")
        return f"within {' or '.join(told)}"


def within(amount: Amount) -> Tolerance:
    """Let numbers, or decimal numbers written as text, lie this far apart."""
    return Tolerance(absolute=_amount(amount, "within"))


def within_share(share: Amount) -> Tolerance:
    """Let numbers lie this share of the larger one apart: ``within_share("0.01")`` is one percent."""
    found = _amount(share, "within_share")
    if found >= 1:
        raise RuleMistake(f"within_share({share!r}) allows anything. Give a share below 1: '0.01' is one percent.")
    return Tolerance(share=found)


def within_seconds(seconds: Amount) -> Tolerance:
    """Let times lie this far apart: ISO 8601 texts, or numbers of seconds."""
    return Tolerance(seconds=_amount(seconds, "within_seconds"))


def _amount(value: object, where: str) -> Decimal:
    if isinstance(value, float):
        raise RuleMistake(f'{where}({value!r}) is a float. Write it as text: {where}("{value}").')
    number = _number(value)
    if number is None or number <= 0:
        raise RuleMistake(f"{where}({value!r}) is not a number above zero.")
    return number


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _seconds_apart(left: Any, right: Any, allowed: Decimal) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        one, other = moment(left), moment(right)
        if one is None or other is None or (one.tzinfo is None) != (other.tzinfo is None):
            return False
        return Decimal(str(abs((one - other).total_seconds()))) <= allowed
    if isinstance(left, str) or isinstance(right, str):
        return False
    a, b = _number(left), _number(right)
    return a is not None and b is not None and abs(a - b) <= allowed


def moment(text: str) -> datetime | None:
    """Return the time that an ISO 8601 text stands for, None for another text."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
