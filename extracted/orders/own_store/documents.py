"""From the service's own rows to the domain's orders."""

from extracted.orders.domain.money import Money
from extracted.orders.domain.order import Address, Attempt, AttemptKind, AttemptState, Line, Order, Status
from extracted.orders.own_store import models
from extracted.orders.own_store.names import join_name, split_name


def to_order(row: models.Order) -> Order:
    """Return the order in ``row``, whose items and attempts have been fetched."""
    return Order(
        id=row.pk,
        number=row.reference,
        customer=row.buyer,
        status=Status(row.state),
        ship_to=Address(
            name=join_name(row.given_name, row.family_name),
            street=row.street,
            city=row.town,
            postcode=row.postal_code,
            country=row.country,
        ),
        total=Money.of_minor(row.total_minor, row.currency),
        note=row.remark,
        placed_at=row.ordered_at,
        paid_at=row.paid_at,
        closed_at=row.ended_at,
        lines=tuple(to_line(item, row.currency) for item in row.items.all()),
        attempts=tuple(to_attempt(attempt) for attempt in row.attempts.all()),
    )


def to_line(row: models.Item, currency: str) -> Line:
    """Return the order line in ``row``."""
    return Line(
        product=row.product,
        sku=row.sku,
        name=row.title,
        quantity=row.pieces,
        unit_price=Money.of_minor(row.unit_minor, currency),
        amount=Money.of_minor(row.amount_minor, currency),
    )


def to_attempt(row: models.Attempt) -> Attempt:
    """Return the payment attempt in ``row``."""
    return Attempt(
        kind=AttemptKind(row.direction),
        state=AttemptState(row.state),
        amount=Money.of_minor(row.amount_minor, row.currency),
        card=row.card_token,
        failure=row.failure,
        provider_key=row.provider_key,
    )


def address_columns(address: Address) -> dict[str, str | None]:
    """Return the columns of an order that hold ``address``."""
    given, family = split_name(address.name)
    return {
        "given_name": given,
        "family_name": family,
        "street": address.street,
        "town": address.city,
        "postal_code": address.postcode,
        "country": address.country,
    }
