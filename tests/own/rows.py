"""Orders at the shop, and documents carried to the other side by hand: no relay, no versions, no locks."""

import itertools
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction

from extracted.orders.own_store.aggregates import ORDERS as OWN
from extracted.orders.own_store.models import Order as OwnOrder
from legacy_shop.orders.aggregates import ORDERS as LEGACY
from legacy_shop.orders.models import Order
from migrations_plan.sync.aggregates import Aggregate, Rows
from migrations_plan.sync.documents import Form, Loaded, LoadedRow
from tests.extracted import shop

__all__ = ["LEGACY", "OWN", "OwnOrder", "carry", "dump", "make_orders", "put"]


def dump(aggregate: Aggregate, keys: Iterable[Any]) -> dict[Any, dict[str, Any]]:
    """Return the documents' data of a side, by key."""
    return Form(aggregate).read(list(keys))


def put(aggregate: Aggregate, key: Any, data: dict[str, Any]) -> None:
    """Write a document's rows where there are none of its aggregate."""
    loaded: Loaded = Form(aggregate).load(key, data)
    with transaction.atomic(using=aggregate.alias):
        _insert(aggregate.root, [loaded.root])
        for part, rows in zip(aggregate.parts, loaded.parts, strict=True):
            _insert(part, rows)


def carry(keys: Iterable[int], *, source: Aggregate = LEGACY, target: Aggregate = OWN) -> None:
    """Put orders of one side, as they are now, into the other one, where they must not be yet."""
    for key, data in dump(source, keys).items():
        put(target, key, data)


def make_orders(customer: Any, count: int, **fields: Any) -> list[Order]:
    """Create orders of a customer at the shop, in every state and with every history of attempts by turns."""
    products = [shop.make_product("19.99"), shop.make_product("0.01", name='Ärmel "№5" <b>&</b> \u2028 🎁')]
    states = itertools.cycle(Order.Status.names)
    histories = itertools.cycle(shop.ATTEMPTS)
    return [_make_order(customer, products, next(states), next(histories), n, fields) for n in range(count)]


def _make_order(
    customer: Any, products: list[Any], state: str, history: Iterable[tuple[str, str]], number: int, fields: Any
) -> Order:
    order = shop.make_order(customer, (products[0], 1 + number), (products[1], 3), status=state, minutes=number)
    paid = shop.NOON + timedelta(hours=number) if number % 3 else None
    given = {"paid_at": paid, "closed_at": paid, "total": Decimal(f"{number}.07"), **fields}
    Order.objects.filter(pk=order.pk).update(**given)
    order.refresh_from_db()
    for kind, outcome in history:
        shop.make_attempt(order, kind, outcome, amount=Decimal("5.10"), settled_at=paid, failure="declined")
    return order


def _insert(table: Rows, rows: Iterable[LoadedRow]) -> None:
    model = table.model_class
    model._base_manager.using(table.alias).bulk_create(
        model(**dict(zip(table.synced_columns, row.values, strict=True))) for row in rows
    )
