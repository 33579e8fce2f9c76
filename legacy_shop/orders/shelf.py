"""Price what somebody wants, take it from the shelf, and put it back.

Stock is locked in ascending product id, always: that is what keeps concurrent orders from deadlocking.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import F

from legacy_shop.catalog.models import Product, Stock
from legacy_shop.orders.exceptions import CartChanged, OrderTooLarge, OutOfStock, UnknownProduct

HIGHEST_TOTAL = Decimal("9999999999.99")


@dataclass(frozen=True)
class LineRequest:
    """A product and how many of it somebody wants."""

    product_id: int
    quantity: int


@dataclass(frozen=True, kw_only=True)
class PricedLine:
    """A product at today's name and price."""

    product: Product
    quantity: int

    @property
    def amount(self) -> Decimal:
        """Return what the line costs."""
        return self.product.price * self.quantity


def price(lines: Sequence[LineRequest], expected_total: Decimal | None = None) -> tuple[list[PricedLine], Decimal]:
    """Return the lines at today's prices, and what they cost together.

    Raises UnknownProduct or OrderTooLarge, and CartChanged at another total than expected.
    """
    products = _products_of(lines)
    priced = [PricedLine(product=products[line.product_id], quantity=line.quantity) for line in lines]
    total = sum((line.amount for line in priced), start=Decimal(0))
    if total > HIGHEST_TOTAL:
        raise OrderTooLarge
    if expected_total not in {None, total}:
        raise CartChanged
    return priced, total


def take(lines: Iterable[PricedLine]) -> None:
    """Take every line's pieces with conditional updates, which no concurrent buyer can undercut. Raises OutOfStock."""
    for line in sorted(lines, key=lambda line: line.product.pk):
        enough = Stock.objects.filter(product_id=line.product.pk, on_hand__gte=line.quantity)
        if not enough.update(on_hand=F("on_hand") - line.quantity):
            raise OutOfStock(f"{line.product.name} is out of stock.")


def give_back(pieces: Iterable[tuple[int, int]]) -> None:
    """Put so many pieces of each product back on the shelf."""
    for product_id, quantity in sorted(pieces):
        Stock.objects.filter(product_id=product_id).update(on_hand=F("on_hand") + quantity)


def _products_of(lines: Sequence[LineRequest]) -> Mapping[int, Product]:
    """Return the products to sell by id; raise UnknownProduct naming those that are not sold."""
    products: dict[int, Product] = Product.objects.filter(is_active=True).in_bulk([line.product_id for line in lines])
    unknown = [line.product_id for line in lines if line.product_id not in products]
    if unknown or not lines:
        raise UnknownProduct(*(f'Invalid pk "{product_id}" - object does not exist.' for product_id in unknown))
    return products
