"""A cart as the pages show it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.contrib.auth.models import User

from legacy_shop.cart.models import CartLine
from legacy_shop.cart.services import lines_of


@dataclass(frozen=True, kw_only=True)
class BasketLine:
    """A product in the cart, at today's price."""

    line: CartLine
    amount: Decimal

    @property
    def problem(self) -> str:
        """Return why this line cannot be ordered as it is, or nothing."""
        stock = getattr(self.line.product, "stock", None)
        if not self.line.product.is_active:
            return "No longer sold. Please take it out."
        if stock is None or not stock.on_hand:
            return "Sold out at the moment."
        if stock.on_hand < self.line.quantity:
            return f"Only {stock.on_hand} left."
        return ""


@dataclass(frozen=True, kw_only=True)
class Basket:
    """Everything in a cart, and its sum."""

    lines: Sequence[BasketLine]
    total: Decimal
    pieces: int


def basket_of(user: User) -> Basket:
    """Return the customer's cart, priced."""
    rows = lines_of(user).select_related("product__category", "product__stock")
    return priced(rows)


def priced(rows: Iterable[CartLine]) -> Basket:
    """Return cart lines with their amounts and sum."""
    lines = [BasketLine(line=row, amount=row.product.price * row.quantity) for row in rows]
    return Basket(
        lines=lines,
        total=sum((line.amount for line in lines), Decimal("0.00")),
        pieces=sum(line.line.quantity for line in lines),
    )
