"""What the rules of ordering refuse."""

from legacy_shop.errors import Invalid, Missing, Refused


class UnknownOrder(Missing):
    """No Order matches the given query."""


class UnknownPage(Missing):
    """Invalid page."""


class UnknownProduct(Invalid):
    """A product that was ordered does not exist or is not sold any more."""

    field = "lines"


class UnknownAddress(Invalid):
    """The address is not in the customer's address book."""

    field = "address"


class OrderTooLarge(Invalid):
    """The order is worth more than the shop can write on an invoice."""

    field = "lines"


class OutOfStock(Refused):
    """There is less on hand than was ordered."""

    code = "out_of_stock"


class CartChanged(Refused):
    """The cart or its prices have changed."""

    code = "cart_changed"


class NotCancellable(Refused):
    """The order is past the point where it can be called off."""

    code = "not_cancellable"


class NotChangeable(Refused):
    """The order is past the point where its address can change."""

    code = "not_changeable"


class EmptyCart(Invalid):
    """The cart is empty."""

    field = "cart"
