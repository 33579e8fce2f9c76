"""The JSON of the API, key by key as the monolith writes it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from extracted.orders.domain.order import Address, Line, Order
from extracted.orders.domain.store import Page, SoldLine

Document = dict[str, Any]


def order_document(order: Order) -> Document:
    """Return an order as its customer sees it."""
    return {
        "id": order.id,
        "number": order.number,
        **_rest_of_order(order),
    }


def staff_document(order: Order) -> Document:
    """Return an order as staff see it: with the customer whose it is."""
    return {
        "id": order.id,
        "number": order.number,
        "customer": order.customer,
        **_rest_of_order(order),
    }


def sold_line_document(line: SoldLine) -> Document:
    """Return a line of a paid order."""
    return {
        "line": line.line,
        "order": line.order,
        "customer": line.customer,
        "paid_at": _time(line.paid_at),
        "product": line.product,
        "quantity": line.quantity,
        "amount": f"{line.amount:.2f}",
        "address": line.address,
        "city": line.city,
        "refunded": line.refunded,
    }


def page_document(page: Page, document: Callable[[Order], Document]) -> Document:
    """Return a page of orders, each as ``document`` shows it."""
    return {
        "count": page.count,
        "page": page.number,
        "pages": page.pages,
        "results": [document(order) for order in page.orders],
    }


def _rest_of_order(order: Order) -> Document:
    return {
        "status": order.status.value,
        "payment": order.payment.value,
        "currency": order.total.currency,
        "total": str(order.total),
        "note": order.note,
        "placed_at": _time(order.placed_at),
        "paid_at": _time(order.paid_at),
        "closed_at": _time(order.closed_at),
        "ship_to": _address(order.ship_to),
        "lines": [_line(line) for line in order.lines],
    }


def _address(address: Address) -> Document:
    return {
        "name": address.name,
        "street": address.street,
        "city": address.city,
        "postcode": address.postcode,
        "country": address.country,
    }


def _line(line: Line) -> Document:
    return {
        "product": line.product,
        "sku": line.sku,
        "name": line.name,
        "quantity": line.quantity,
        "unit_price": str(line.unit_price),
        "amount": str(line.amount),
    }


def _time(moment: datetime | None) -> str | None:
    """Return ``moment`` in UTC, to the microsecond even where that is zero."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
