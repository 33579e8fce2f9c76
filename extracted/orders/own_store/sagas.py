"""What the own store does together with the monolith, which keeps stock, carts, prices and address books.

Placing: the pieces are *reserved*, out of the cart if it is that which is ordered (undone by releasing them); the order
is *created* in a transaction of our own, which is the point of no return; the reservation is *confirmed*.
Giving an order up: what it took is put back on the shelf, once the transaction that gives it up is committed.
"""

from typing import Any

from extracted.orders import shop
from extracted.orders.domain.errors import CartChanged, Invalid, OutOfStock, Refused, ShopUnavailable
from extracted.orders.domain.order import Address, Line
from extracted.orders.domain.store import Wish
from extracted.orders.shop import Said
from router.sagas.api import Context, Pivot, SagaType, Step, declare

SERVICE = "orders"
BY_CODE: dict[str, Any] = {"out_of_stock": OutOfStock, "cart_changed": lambda detail: CartChanged()}
RESERVATIONS = "/internal/stock/reservations"


def reserve(context: Context) -> Any:
    """Take the pieces; return lines at today's prices and the address. Raises what the shop's checkout refuses."""
    said = shop.post(f"{RESERVATIONS}/{context.saga}/", context.data)
    if said.ok:
        return said.data
    raise _refusal(said)


def release(context: Context) -> None:
    """Give the pieces back, whether they were taken, are about to be, or never will be."""
    _done(shop.post(f"{RESERVATIONS}/{context.saga}/release/"))


def confirm(context: Context) -> None:
    """Say that the order has come to be."""
    _done(shop.post(f"{RESERVATIONS}/{context.saga}/confirm/"))


def restock(context: Context) -> None:
    """Put the pieces of an order that was given up back on the shelf."""
    _done(shop.post(f"/internal/stock/restocks/{context.saga}/", {"lines": context.data["lines"]}))


PLACE = declare(
    SagaType(
        name="orders.place",
        service=SERVICE,
        steps=(
            Step(name="reserve", action=reserve, compensation=release, refusals=(Invalid, Refused)),
            Pivot(name="create"),
            Step(name="confirm", action=confirm),
        ),
    )
)
RESTOCK = declare(SagaType(name="orders.restock", service=SERVICE, steps=(Step(name="restock", action=restock),)))


def wanted(wish: Wish) -> dict[str, Any]:
    """Return what the monolith is asked to reserve."""
    address = wish.address
    return {
        "customer": wish.customer,
        "lines": None if wish.lines is None else [vars(line) for line in wish.lines],
        "address": vars(address) if isinstance(address, Address) else address,
        "expected_total": None if wish.expected_total is None else str(wish.expected_total),
    }


def returned(order_id: int, lines: tuple[Line, ...]) -> dict[str, Any]:
    """Return what goes back on the shelf."""
    pieces = [{"product": line.product, "quantity": line.quantity} for line in lines]
    return {"order": order_id, "lines": pieces}


def _refusal(said: Said) -> Exception:
    """Return what the shop's refusal is here; what it has not decided is no refusal."""
    if said.status == 400:
        field, messages = next(iter(said.data.items()))
        return Invalid(field, messages)
    if said.status == 404:
        return Invalid("customer", [said.data["detail"]])
    code = said.data.get("code") if said.status == 409 else None
    if code in BY_CODE:
        refused: Exception = BY_CODE[code](said.data["detail"])
        return refused
    return ShopUnavailable(f"The shop did not reserve the pieces: {said.status} {said.data}")


def _done(said: Said) -> None:
    if not said.ok:
        raise ShopUnavailable(f"The shop answered {said.status}: {said.data}")
