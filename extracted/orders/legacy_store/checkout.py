"""Place an order in the monolith's tables: stock, order, lines and charge, all or nothing."""

from collections.abc import Iterable
from datetime import datetime

from extracted.orders.domain.errors import CartChanged, Invalid
from extracted.orders.domain.money import Money
from extracted.orders.domain.order import CURRENCY, Address, AttemptKind, Line, Status, new_number, total
from extracted.orders.domain.store import WantedLine, Wish
from extracted.orders.legacy_store import models
from extracted.orders.legacy_store.attempts import open_attempt
from extracted.orders.legacy_store.documents import CODES, address_columns, to_line_row
from extracted.orders.legacy_store.stock import take


def place(wish: Wish, at: datetime) -> int:
    """Keep the order that ``wish`` describes and return its id; the caller's transaction makes it all or nothing."""
    address, address_id = _address(wish)
    wanted = _wanted(wish)
    lines = _priced(wanted)
    price = total(lines, CURRENCY)
    if wish.expected_total not in {None, price.amount}:
        raise CartChanged
    take(lines)
    free = not price.amount  # no provider would take a charge of zero
    row = models.Order.objects.create(
        number=new_number(at),
        customer_id=wish.customer,
        status=CODES[Status.PAID if free else Status.PENDING],
        shipping_address_id=address_id,
        **address_columns(address),
        currency=CURRENCY,
        total=price.amount,
        note=wish.note,
        placed_at=at,
        paid_at=at if free else None,
    )
    models.OrderLine.objects.bulk_create(to_line_row(line, row.pk) for line in lines)
    if wish.lines is None:
        models.CartLine.objects.filter(cart__user_id=wish.customer).delete()
    if wish.card and not free:
        open_attempt(row.pk, AttemptKind.CHARGE, price, wish.card, at)
    return row.pk


def _wanted(wish: Wish) -> tuple[WantedLine, ...]:
    """Return what to order: the wish's lines, or the cart's, locked so that a second checkout finds it empty."""
    if wish.lines is not None:
        return wish.lines
    list(models.Cart.objects.select_for_update().filter(user_id=wish.customer))
    rows = models.CartLine.objects.filter(cart__user_id=wish.customer).order_by("pk")
    wanted = tuple(WantedLine(product=row.product_id, quantity=row.quantity) for row in rows)
    if not wanted:
        raise Invalid("cart", ["The cart is empty."])
    return wanted


def _priced(wanted: Iterable[WantedLine]) -> tuple[Line, ...]:
    """Return ``wanted`` with today's names and prices."""
    lines = tuple(wanted)
    products = models.Product.objects.filter(is_active=True).in_bulk([line.product for line in lines])
    missing = [line.product for line in lines if line.product not in products]
    if missing:
        raise Invalid("lines", [f'Invalid pk "{product}" - object does not exist.' for product in missing])
    return tuple(
        Line.priced(
            product=line.product,
            sku=products[line.product].sku,
            name=products[line.product].name,
            quantity=line.quantity,
            unit_price=Money(amount=products[line.product].price, currency=CURRENCY),
        )
        for line in lines
    )


def _address(wish: Wish) -> tuple[Address, int | None]:
    """Return where the order goes and, if it came from there, its entry in the address book."""
    if isinstance(wish.address, Address):
        return wish.address, None
    entry = models.CustomerAddress.objects.filter(pk=wish.address, user_id=wish.customer).first()
    if entry is None:
        raise Invalid("address", [f'Invalid pk "{wish.address}" - object does not exist.'])
    address = Address(
        name=entry.name, street=entry.street, city=entry.city, postcode=entry.postcode, country=entry.country
    )
    return address, entry.pk
