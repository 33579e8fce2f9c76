"""What the rules of ordering refuse, each with the words a customer is told."""

from collections.abc import Iterable


class OrderError(Exception):
    """Something about an order is not possible."""


class CurrencyMismatch(OrderError):
    """Amounts of different currencies met."""


class OrderNotFound(OrderError):
    """There is no such order, or it is not for the one who asks."""

    def __init__(self) -> None:
        super().__init__("No Order matches the given query.")


class PageNotFound(OrderError):
    """The list has no such page."""

    def __init__(self) -> None:
        super().__init__("Invalid page.")


class Refused(OrderError):
    """The order is in a state, or the shop in a situation, that does not allow what was asked."""

    code = "refused"


class OutOfStock(Refused):
    """There is less on hand than was ordered."""

    code = "out_of_stock"


class CartChanged(Refused):
    """What was ordered no longer costs what the customer saw."""

    code = "cart_changed"

    def __init__(self) -> None:
        super().__init__("The cart or its prices have changed.")


class NotCancellable(Refused):
    """The order is past the point where it can be called off."""

    code = "not_cancellable"


class NotChangeable(Refused):
    """The order is past the point where its address can change."""

    code = "not_changeable"


class NotPayable(Refused):
    """The order is not waiting for money."""

    code = "not_payable"


class ShopUnavailable(OrderError):
    """The shop did not answer what this needs of it; nothing was done, or it is undone."""

    code = "shop_unavailable"
    retry_after = 1
    """Seconds after which the same request may be sent again."""


class Invalid(OrderError):
    """What was asked names things that do not exist for this customer."""

    def __init__(self, field: str, messages: Iterable[str]) -> None:
        self.field = field
        self.messages = tuple(messages)
        super().__init__(f"{field}: {' '.join(self.messages)}")


class TooLarge(Invalid):
    """The order is worth more than the shop can write on an invoice."""

    def __init__(self) -> None:
        super().__init__("lines", ["The order is worth more than the shop can write on an invoice."])
