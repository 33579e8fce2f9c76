"""Amounts of money: exact, and never mixed across currencies."""

from dataclasses import dataclass
from decimal import Decimal

from extracted.orders.domain.errors import CurrencyMismatch

CENT = Decimal("0.01")


@dataclass(frozen=True, kw_only=True, order=True)
class Money:
    """An amount of one currency, kept to the cent."""

    currency: str
    amount: Decimal

    def __post_init__(self) -> None:
        """Refuse fractions of a cent, which nobody could pay."""
        exact = Decimal(self.amount).quantize(CENT)
        if exact != self.amount:
            raise ValueError(f"{self.amount} {self.currency} is not a whole number of cents. Round it first.")
        object.__setattr__(self, "amount", exact)

    @classmethod
    def of_minor(cls, minor: int, currency: str) -> "Money":
        """Return the amount that is ``minor`` cents, as payment providers count."""
        return cls(amount=Decimal(minor) * CENT, currency=currency)

    @property
    def minor(self) -> int:
        """Return the amount in cents."""
        return int(self.amount / CENT)

    def __add__(self, other: "Money") -> "Money":
        if other.currency != self.currency:
            raise CurrencyMismatch(f"{self} and {other} cannot be added: their currencies differ.")
        return Money(amount=self.amount + other.amount, currency=self.currency)

    def __mul__(self, factor: int) -> "Money":
        return Money(amount=self.amount * factor, currency=self.currency)

    def __str__(self) -> str:
        return str(self.amount)


def zero(currency: str) -> Money:
    """Return nothing, in ``currency``."""
    return Money(amount=Decimal(0), currency=currency)
