"""Rows that the service makes get ids of a range of its own, and the shop's never do, whatever arrives on each side."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, models, transaction

from extracted.orders.own_store import ids as own_ids
from extracted.orders.own_store.models import Attempt, Counter, Item, Order
from legacy_shop.orders.aggregates import MINTS_FROM
from legacy_shop.orders.models import Order as ShopOrder
from legacy_shop.orders.models import OrderLine
from migrations_plan.sync import ids
from migrations_plan.sync.ids import Headroom, Range
from tests.extracted import shop
from tests.own import ALIAS
from tests.own.rows import LEGACY, OWN, carry

pytestmark = pytest.mark.django_db(databases=["default", "own"], transaction=True)
MINTED: tuple[type[models.Model], ...] = (Order, Item, Attempt)


@pytest.fixture(autouse=True)
def shops_counters_as_new() -> Iterator[None]:
    """Let the shop count on from its rows, before and after."""
    _forget_counters()
    yield
    _forget_counters()


def _forget_counters() -> None:
    if connections["default"].vendor == "sqlite":
        with connections["default"].cursor() as cursor:
            cursor.execute("DELETE FROM sqlite_sequence WHERE name LIKE 'orders_%' OR name LIKE 'payments_%'")


def make(**fields: Any) -> Order:
    given = {"reference": f"R{Order.objects.count()}", "buyer": 1, "state": "pending", "currency": "USD"}
    if "pk" not in fields:
        fields["pk"] = own_ids.mint(Order)[0]
    return Order.objects.create(**{**given, "total_minor": 1, "ordered_at": shop.NOON, **fields})


def on_sqlite() -> bool:
    return connections[ALIAS].vendor == "sqlite"


@pytest.mark.parametrize("model", MINTED)
def test_every_table_has_the_range(model: type[models.Model]) -> None:
    assert set(own_ids.TABLES) == {each._meta.db_table for each in MINTED}
    minted = own_ids.mint(model, 3)
    assert minted == list(range(minted[0], minted[0] + 3))
    assert own_ids.mint(model)[0] > minted[-1] >= own_ids.RANGE_START + 2


def test_rows_of_the_shop_do_not_move_it() -> None:
    first = make()
    for arrived in (5, MINTS_FROM, MINTS_FROM + 7):
        make(pk=arrived)
    assert own_ids.mint(Order) == [first.pk + 1]


def test_it_never_runs_backwards() -> None:
    first = make()
    for _ in range(2):
        own_ids.start(connections[ALIAS])
        own_ids.after_migrate(sender=None, using=ALIAS)  # type: ignore[arg-type]
    assert own_ids.mint(Order) == [first.pk + 1]


def test_ids_are_not_given_out_again_when_their_rows_are_gone() -> None:
    last = make().pk
    Order.objects.all().delete()
    own_ids.start(connections[ALIAS])
    assert own_ids.mint(Order) == [last + 1]


def test_a_lost_counter_goes_on_behind_what_was_minted() -> None:
    last = make()
    make(pk=MINTS_FROM + 3)
    with connections[ALIAS].cursor() as cursor:
        if on_sqlite():
            Counter.objects.all().delete()
        else:
            cursor.execute("SELECT setval(pg_get_serial_sequence('own_store_order', 'id'), 7)")
    own_ids.after_migrate(sender=None, using=ALIAS)  # type: ignore[arg-type]
    assert own_ids.mint(Order)[0] >= (last.pk + 1 if on_sqlite() else own_ids.RANGE_START)


def test_other_databases_are_left_alone() -> None:
    own_ids.after_migrate(sender=None, using="default")  # type: ignore[arg-type]
    assert "own_store_order" not in connections["default"].introspection.table_names()


# --- both sides ---------------------------------------------------------------------------------------------


def shops_order() -> ShopOrder:
    customer, product = shop.make_customer(), shop.make_product()
    order = shop.make_order(customer, (product, 1))
    shop.make_attempt(order)
    return order


def services_order(buyer: int) -> Order:
    order = make(buyer=buyer, country="CH", given_name="A", family_name="B")
    item = {"product": shop.make_product().pk, "sku": "A", "title": "A", "pieces": 1}
    Item.objects.create(pk=own_ids.mint(Item)[0], order=order, unit_minor=1, amount_minor=1, **item)
    return order


def carried_home(order: Order) -> None:
    """Bring an order of the service to the shop, as sync does."""
    carry([order.pk], source=OWN, target=LEGACY)


def test_mixed_minting_never_collides() -> None:
    """Each side makes orders, gets those of the other, and makes more; back at the shop, too."""
    ids.start(LEGACY)
    theirs: list[int] = []
    ours: list[int] = []
    for _ in range(4):
        made = shops_order()
        theirs.append(made.pk)
        carry([made.pk])
        own = services_order(made.customer_id)
        ours.append(own.pk)
        carried_home(own)
    theirs += [shops_order().pk for _ in range(3)]
    assert len({*theirs, *ours}) == 11
    assert all(own_ids.RANGE_START <= pk < own_ids.RANGE_END for pk in ours)
    assert all(not own_ids.RANGE_START <= pk < own_ids.RANGE_END for pk in theirs)
    assert ShopOrder.objects.filter(pk__in=[*theirs, *ours]).count() == 11
    assert all(room.disjoint for room in ids.compare(ids.next_ids(LEGACY), ids.next_ids(OWN)))


@pytest.mark.sqlite
def test_without_it_both_sides_would_mint_the_same() -> None:
    """On SQLite a row of the service lifts the shop's counter into the service's range."""
    own = services_order(shops_order().customer_id)
    carried_home(own)
    assert shops_order().pk == own_ids.mint(Order)[0]
    overlap = ids.problems(ids.next_ids(LEGACY), ids.next_ids(OWN))
    assert any(problem.startswith("root: both sides would mint the same ids") for problem in overlap)


@pytest.mark.sqlite
def test_the_shops_counters_are_raised_once_and_again_after_a_rebuild() -> None:
    before = shops_order().pk
    for _ in range(2):
        ids.start(LEGACY)
    assert shops_order().pk == MINTS_FROM
    with connections["default"].cursor() as cursor:
        cursor.execute("UPDATE sqlite_sequence SET seq = %s WHERE name = 'orders_order'", [before])
    ids.start(LEGACY)
    assert shops_order().pk > MINTS_FROM
    assert OrderLine.objects.latest("pk").pk >= MINTS_FROM


@pytest.mark.postgres
def test_the_shops_sequences_stay_where_they_are() -> None:
    before = shops_order().pk
    ids.start(LEGACY)
    assert shops_order().pk == before + 1


def test_a_table_that_was_never_written_has_its_range(django_db_blocker: Any) -> None:
    if on_sqlite():
        with connections["default"].cursor() as cursor:
            cursor.execute("DELETE FROM sqlite_sequence WHERE name = 'payments_paymentattempt'")
    ids.start(LEGACY)
    assert [one.part for one in ids.next_ids(LEGACY)] == ["root", "lines", "attempts"]
    expected = MINTS_FROM if connections["default"].vendor == "sqlite" else 1
    assert {one.first for one in ids.next_ids(LEGACY)} == {expected}
    assert {one.first for one in ids.next_ids(OWN)} == {own_ids.RANGE_START}


def test_asking_mints_nothing() -> None:
    for side in (LEGACY, OWN):
        assert ids.next_ids(side) == ids.next_ids(side)


@pytest.mark.parametrize(
    ("here", "there", "left"),
    [
        ((1, 50), (1000, 1000), 950),
        ((1000, 1000), (1, 50), 950),
        ((1, 1000), (1000, 1000), 0),
        ((1, 2000), (1000, 1500), -1499),
        ((1, 5), (1, 9), -4),
    ],
)
def test_headroom(here: tuple[int, int], there: tuple[int, int], left: int) -> None:
    ranges = [Range(part="root", first=first, next=following) for first, following in (here, there)]
    (found,) = ids.compare(ranges[:1], ranges[1:])
    assert (found, found.disjoint) == (Headroom(part="root", left=left), left > 0)
    assert len(ids.problems(ranges[:1], ranges[1:], least=1000)) == 1
    assert ids.problems(ranges[:1], ranges[1:], least=900) == () if left > 900 else True


def test_a_rolled_back_transaction_may_give_its_ids_out_again_but_never_twice() -> None:
    with transaction.atomic(using=ALIAS):
        own_ids.mint(Order, 5)
        transaction.set_rollback(True, using=ALIAS)
    kept = make()
    assert make().pk == kept.pk + 1


def test_flushing_leaves_the_range(transactional_db: None) -> None:
    call_command("flush", database=ALIAS, interactive=False, verbosity=0)
    assert own_ids.mint(Order)[0] >= own_ids.RANGE_START
