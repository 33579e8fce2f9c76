"""What can go wrong with money."""

from legacy_shop.errors import Refused, ShopError


class NotPayable(Refused):
    """The order is not waiting for money."""

    code = "not_payable"


class ProviderUnavailable(ShopError):
    """The payment provider gave no answer that settles anything; the attempt stays open and is asked again."""

    def __init__(self, message: str, *, reached: bool) -> None:
        super().__init__(message)
        self.reached = reached
        """Whether anybody answered at all."""


class CalledInsideTransaction(ShopError):
    """The payment provider was to be called while a database transaction is open."""
