"""An order as a customer asks for it, by the API, by a page, or by a program."""

from typing import Any

from django.contrib.auth.models import User

from legacy_shop.cart.services import locked_lines_of
from legacy_shop.orders.exceptions import EmptyCart
from legacy_shop.orders.models import Order
from legacy_shop.orders.services import LineRequest, ShipTo, address_of, place_order


def place_wish(customer: User, wish: dict[str, Any]) -> Order:
    """Place the order that a valid wish describes, inside the caller's transaction.

    The wish has the keys of the API's body: ``cart`` or ``lines``, ``address`` (the id of an entry, or a place),
    ``note``, ``payment`` and ``expected_total``.
    """
    choice = wish["address"]
    entry = address_of(customer, choice) if isinstance(choice, int) else None
    if wish["cart"]:
        lines = [LineRequest(line.product_id, line.quantity) for line in locked_lines_of(customer)]
        if not lines:
            raise EmptyCart("The cart is empty.")
    else:
        lines = [LineRequest(line["product"], line["quantity"]) for line in wish["lines"]]
    return place_order(
        customer=customer,
        lines=lines,
        ship_to=ShipTo(**choice) if entry is None else ShipTo.of(entry),
        shipping_address=entry,
        note=wish["note"],
        card=wish["payment"]["card"] if wish["payment"] else None,
        empty_cart=wish["cart"],
        expected_total=wish["expected_total"],
    )
