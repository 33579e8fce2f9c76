"""Create an order of what the monolith has reserved for it."""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any

from extracted.orders.domain.money import Money
from extracted.orders.domain.order import Address, AttemptKind, AttemptState, Line, Status, new_number, total
from extracted.orders.domain.store import Wish
from extracted.orders.own_store import models
from extracted.orders.own_store.documents import address_columns
from extracted.orders.own_store.ids import mint


def create(wish: Wish, reserved: dict[str, Any], at: datetime) -> int:
    """Keep the order and open its charge; return its id. The caller's transaction makes it all or nothing."""
    currency = reserved["currency"]
    lines = [_line(line, currency) for line in reserved["lines"]]
    price = total(lines, currency)
    free = not price.amount  # no provider would take a charge of zero
    row = models.Order.objects.create(
        id=mint(models.Order)[0],
        reference=new_number(at),
        buyer=wish.customer,
        state=(Status.PAID if free else Status.PENDING).value,
        **address_columns(Address(**reserved["ship_to"])),
        address_entry=reserved["address_entry"],
        currency=currency,
        total_minor=price.minor,
        remark=wish.note,
        ordered_at=at,
        paid_at=at if free else None,
    )
    keys = mint(models.Item, len(lines))
    models.Item.objects.bulk_create(_item(key, line, row.pk) for key, line in zip(keys, lines, strict=True))
    if wish.card and not free:
        open_attempt(row.pk, AttemptKind.CHARGE, price, wish.card, at)
    return row.pk


def open_attempt(order_id: int, kind: AttemptKind, amount: Money, card: str, at: datetime) -> uuid.UUID:
    """Insert an open attempt; return its new key, under which the provider will be asked."""
    key = uuid.uuid4()
    models.Attempt.objects.create(
        id=mint(models.Attempt)[0],
        order_id=order_id,
        direction=kind.value,
        state=AttemptState.OPEN.value,
        amount_minor=amount.minor,
        currency=amount.currency,
        card_token=card,
        provider_key=key,
        opened_at=at,
    )
    return key


def _line(reserved: dict[str, Any], currency: str) -> Line:
    return Line.priced(
        product=reserved["product"],
        sku=reserved["sku"],
        name=reserved["name"],
        quantity=reserved["quantity"],
        unit_price=Money(amount=Decimal(reserved["unit_price"]), currency=currency),
    )


def _item(key: int, line: Line, order_id: int) -> models.Item:
    return models.Item(
        id=key,
        order_id=order_id,
        product=line.product,
        sku=line.sku,
        title=line.name,
        pieces=line.quantity,
        unit_minor=line.unit_price.minor,
        amount_minor=line.amount.minor,
    )
