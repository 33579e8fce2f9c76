"""Rows that the service makes get ids of a range of its own, whatever ids arrive from the shop."""

import pytest
from django.db import connections

from extracted.orders.own_store import ids
from extracted.orders.own_store.models import Attempt, Item, Order
from tests.extracted import shop
from tests.own import ALIAS

pytestmark = pytest.mark.django_db(databases=["default", "own"])


def make(**fields: object) -> Order:
    given = {"reference": f"R{Order.objects.count()}", "buyer": 1, "state": "pending", "currency": "USD"}
    return Order.objects.create(**{**given, "total_minor": 1, "ordered_at": shop.NOON, **fields})


def back_to(number: int) -> None:
    """Set the orders' sequence as a rebuilt table or a restored one may have it."""
    with connections[ALIAS].cursor() as cursor:
        if connections[ALIAS].vendor == "sqlite":
            cursor.execute("UPDATE sqlite_sequence SET seq = %s WHERE name = 'own_store_order'", [number])
        else:
            cursor.execute("SELECT setval(pg_get_serial_sequence('own_store_order', 'id'), %s)", [number])


def test_every_table_has_the_range() -> None:
    assert set(ids.TABLES) == {model._meta.db_table for model in (Order, Item, Attempt)}
    order = make()
    item = Item.objects.create(order=order, product=1, sku="A", title="A", pieces=1, unit_minor=1, amount_minor=1)
    attempt = Attempt.objects.create(
        order=order,
        direction="charge",
        state="open",
        amount_minor=1,
        currency="USD",
        provider_key="9f4b1c1e-6f0c-4f0e-8a53-2d8c2a5e7a11",
        opened_at=shop.NOON,
    )
    assert min(order.pk, item.pk, attempt.pk) >= ids.RANGE_START


def test_rows_of_the_shop_do_not_move_it() -> None:
    first = make()
    make(pk=5)
    assert make().pk == first.pk + 1


def test_it_never_runs_backwards() -> None:
    first = make()
    ids.start(connections[ALIAS])
    ids.start(connections[ALIAS])
    assert make().pk == first.pk + 1


def test_a_table_that_was_rebuilt_gets_it_back() -> None:
    back_to(7)
    assert make().pk == 8
    ids.after_migrate(sender=None, using=ALIAS)  # type: ignore[arg-type]
    assert make().pk >= ids.RANGE_START


def test_other_databases_are_left_alone() -> None:
    ids.after_migrate(sender=None, using="default")  # type: ignore[arg-type]
    assert "own_store_order" not in connections["default"].introspection.table_names()
