"""Between the monolith's rows and the domain's orders."""

from extracted.orders.domain.money import Money
from extracted.orders.domain.order import Address, Attempt, AttemptKind, AttemptState, Line, Order, Status
from extracted.orders.legacy_store import models

CODES: dict[Status, int] = {
    Status.PENDING: 10,
    Status.PAID: 20,
    Status.SHIPPED: 30,
    Status.COMPLETED: 40,
    Status.CANCELLED: 90,
    Status.EXPIRED: 95,
}
"""The numbers that the monolith's tables hold."""
STATUSES: dict[int, Status] = {code: status for status, code in CODES.items()}


def to_order(row: models.Order) -> Order:
    """Return the order in ``row``, whose lines and attempts have been fetched."""
    return Order(
        id=row.pk,
        number=row.number,
        customer=row.customer_id,
        status=STATUSES[row.status],
        ship_to=Address(
            name=row.ship_name,
            street=row.ship_street,
            city=row.ship_city,
            postcode=row.ship_postcode,
            country=row.ship_country,
        ),
        total=Money(amount=row.total, currency=row.currency),
        note=row.note,
        placed_at=row.placed_at,
        paid_at=row.paid_at,
        closed_at=row.closed_at,
        lines=tuple(to_line(line, row.currency) for line in row.lines.all()),
        attempts=tuple(to_attempt(attempt) for attempt in row.payment_attempts.all()),
    )


def to_line(row: models.OrderLine, currency: str) -> Line:
    """Return the order line in ``row``."""
    return Line(
        product=row.product_id,
        sku=row.sku,
        name=row.name,
        quantity=row.quantity,
        unit_price=Money(amount=row.unit_price, currency=currency),
        amount=Money(amount=row.amount, currency=currency),
    )


def to_attempt(row: models.PaymentAttempt) -> Attempt:
    """Return the payment attempt in ``row``."""
    return Attempt(
        kind=AttemptKind(row.kind),
        state=AttemptState(row.state),
        amount=Money(amount=row.amount, currency=row.currency),
        card=row.card,
        failure=row.failure,
        provider_key=row.provider_key,
    )


def to_line_row(line: Line, order_id: int) -> models.OrderLine:
    """Return the row that keeps ``line`` of an order."""
    return models.OrderLine(
        order_id=order_id,
        product_id=line.product,
        sku=line.sku,
        name=line.name,
        quantity=line.quantity,
        unit_price=line.unit_price.amount,
        amount=line.amount.amount,
    )


def address_columns(address: Address) -> dict[str, str]:
    """Return the columns of an order that hold ``address``."""
    return {
        "ship_name": address.name,
        "ship_street": address.street,
        "ship_city": address.city,
        "ship_postcode": address.postcode,
        "ship_country": address.country,
    }
