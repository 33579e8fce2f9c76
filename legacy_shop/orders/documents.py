"""The JSON document of an order: the one shape every API answer shows."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet

from legacy_shop.orders.models import Order, OrderLine
from legacy_shop.payments.ledger import payment_state


def with_parts(orders: QuerySet[Order]) -> QuerySet[Order]:
    """Return the orders with what their documents need, in three queries however many there are."""
    return orders.prefetch_related("lines", "payment_attempts")


def fresh_document(order_id: int) -> dict[str, Any]:
    """Return the document of the order as the database has it now."""
    return order_document(with_parts(Order.objects.all()).get(pk=order_id))


def staff_document(order: Order) -> dict[str, Any]:
    """Return the document that also says whose order it is."""
    document = order_document(order)
    return {"id": document.pop("id"), "number": document.pop("number"), "customer": order.customer_id, **document}


def order_document(order: Order) -> dict[str, Any]:
    """Return the order as the API shows it; keys in the order of the contract."""
    return {
        "id": order.pk,
        "number": order.number,
        "status": Order.Status(order.status).label,
        "payment": payment_state(order.payment_attempts.all()),
        "currency": order.currency,
        "total": money(order.total),
        "note": order.note,
        "placed_at": moment(order.placed_at),
        "paid_at": moment(order.paid_at),
        "closed_at": moment(order.closed_at),
        "ship_to": {
            "name": order.ship_name,
            "street": order.ship_street,
            "city": order.ship_city,
            "postcode": order.ship_postcode,
            "country": order.ship_country,
        },
        "lines": [_line(line) for line in order.lines.all()],
    }


def money(amount: Decimal) -> str:
    """Return an amount with its two decimals."""
    return f"{amount:.2f}"


def moment(at: datetime | None) -> str | None:
    """Return a point in time in UTC, to the microsecond even where that is zero."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _line(line: OrderLine) -> dict[str, Any]:
    return {
        "product": line.product_id,
        "sku": line.sku,
        "name": line.name,
        "quantity": line.quantity,
        "unit_price": money(line.unit_price),
        "amount": money(line.amount),
    }
