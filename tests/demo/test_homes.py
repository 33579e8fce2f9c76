"""The demo's own reading of both homes, after a real sync: equal orders are equal, and nothing wrong is overlooked."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from demo import homes
from demo.homes import Home, PostgresHome, SqliteHome, home_of, moment
from demo.planting import plant
from tests import scratch
from tests.demo.conftest import Pair, enrich, fill, pair_of


def last_order(pair: Pair) -> int:
    with pair.shop.reading() as connection:
        (row,) = connection.execute("SELECT MAX(id) AS n FROM orders_order")
        return int(row["n"])


def test_synced_orders_are_equal(pair: Pair) -> None:
    assert homes.compare(pair.shop, pair.own) == {}
    assert homes.counts(pair.shop, pair.own) == (6, 6)


def test_an_order_is_read_with_everything(pair: Pair) -> None:
    with pair.own.reading() as connection:
        order = homes.own_orders(connection)[pair.rich]
    assert (order["recipient"], order["address_entry"]) == ("Prince", None)
    assert order["placed_at"].tzinfo is not None
    first, second = (attempt for _, attempt in sorted(order["attempts"].items()))
    assert (first["amount"], first["kind"], second["kind"], second["told_at"]) == (1250, "charge", "refund", None)
    assert order["lines"]


OWN_WRONG = [
    ("UPDATE own_store_order SET total_minor = total_minor + 1 WHERE id = {id}", "total is"),
    ("UPDATE own_store_order SET given_name = '' WHERE id = {id}", "recipient is 'Prince' in the shop and ' Prince'"),
    ("UPDATE own_store_order SET family_name = 'Prints' WHERE id = {id}", "recipient is"),
    ("UPDATE own_store_order SET state = 'paid' WHERE id = {id}", "status is"),
    ("UPDATE own_store_order SET ordered_at = '2020-01-01 00:00:00' WHERE id = {id}", "placed_at is"),
    ("UPDATE own_store_order SET address_entry = 3 WHERE id = {id}", "address_entry is None in the shop and 3"),
    ("UPDATE own_store_order SET remark = 'x' WHERE id = {id}", "note is"),
    ("UPDATE own_store_item SET pieces = pieces + 1 WHERE order_id = {id}", "lines"),
    ("DELETE FROM own_store_item WHERE order_id = {id}", "lines"),
    ("UPDATE own_store_attempt SET told_at = NULL WHERE order_id = {id}", "attempts"),
    ("DELETE FROM own_store_attempt WHERE order_id = {id} AND direction = 'refund'", "attempts"),
    ("DELETE FROM own_store_order WHERE id = {id}", homes.ONLY_SHOP),
]


@pytest.mark.parametrize(("change", "told"), OWN_WRONG)
def test_what_is_wrong_at_the_service_is_told(pair: Pair, change: str, told: str) -> None:
    with pair.own.past_triggers() as connection:
        connection.execute(change.format(id=pair.rich))
    found = homes.compare(pair.shop, pair.own)
    assert list(found) == [pair.rich]
    assert told in found[pair.rich]


def test_what_is_wrong_in_the_shop_is_told(pair: Pair) -> None:
    with pair.shop.past_triggers() as connection:
        connection.execute(f"DELETE FROM orders_order WHERE id = {pair.rich}")
    assert homes.compare(pair.shop, pair.own) == {pair.rich: homes.ONLY_OWN}


def test_only_the_orders_asked_for_are_compared(pair: Pair) -> None:
    other = last_order(pair)
    with pair.own.past_triggers() as connection:
        connection.execute("UPDATE own_store_order SET town = 'Elsewhere'")
    assert list(homes.compare(pair.shop, pair.own, [other])) == [other]
    assert homes.compare(pair.shop, pair.own, []) == {}


def state(home: Home) -> tuple[Any, ...]:
    """Return what must not change when something is written past the triggers: they and what they note."""
    with home.reading() as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name")
        marks = connection.execute("SELECT * FROM strangler_sync_mark ORDER BY id")
        return [tuple(row) for row in triggers], [tuple(row) for row in marks]


@pytest.mark.parametrize("side", ["shop", "own"])
def test_triggers_note_nothing_and_are_there_again(pair: Pair, side: str) -> None:
    home, table = {"shop": (pair.shop, "orders_order"), "own": (pair.own, "own_store_order")}[side]
    before = state(home)
    with home.past_triggers() as connection:
        connection.execute(f"UPDATE {table} SET currency = 'CHF'")
    assert state(home) == before
    assert len(before[0]) > 10
    assert len(homes.compare(pair.shop, pair.own)) == 6


def test_nothing_is_written_if_something_goes_wrong(pair: Pair) -> None:
    def fail() -> None:
        with pair.shop.past_triggers() as connection:
            connection.execute("DELETE FROM orders_order")
            raise LookupError

    before = state(pair.shop)
    with pytest.raises(LookupError):
        fail()
    assert state(pair.shop) == before
    assert homes.compare(pair.shop, pair.own) == {}


AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


@pytest.mark.parametrize("value", ["2026-01-02 03:04:05.678", "2026-01-02 03:04:05.678000", AT, None])
def test_moments_are_read_from_either_database(value: Any) -> None:
    assert moment(value) == (AT if value else None)


def test_an_address_names_its_home() -> None:
    assert home_of("sqlite:////tmp/orders.sqlite3") == SqliteHome(Path("/tmp/orders.sqlite3"))
    assert home_of("postgresql://somebody@db/orders") == PostgresHome("postgresql://somebody@db/orders")


# --- a store of the service's own on PostgreSQL ---------------------------------------------------------------
@pytest.fixture
def server_database(django_db_blocker: Any) -> Iterator[str]:
    """The address of a database that is made for a test."""
    name, server = f"test_demo_{os.getpid()}", urlsplit(scratch.url(""))
    with psycopg.connect(scratch.url(""), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield urlunsplit(server._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(scratch.url(""), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.postgres
@pytest.mark.django_db
def test_a_store_on_postgresql_is_compared_and_corrupted_as_well(
    small_shop: Path, tmp_path: Path, server_database: str
) -> None:
    assert homes.tables_of(server_database) == 0
    shop = Path(shutil.copy(small_shop, tmp_path))
    enrich(shop)
    fill(shop, server_database, tmp_path)
    assert homes.tables_of(server_database) > 5
    pair = pair_of(shop, PostgresHome(server_database))
    assert homes.compare(pair.shop, pair.own) == {}
    planted = plant(pair.shop, pair.own, before=last_order(pair))
    found = homes.compare(pair.shop, pair.own)
    assert set(found) == {one.order_id for one in planted if one.shows}
    with closing(sqlite3.connect(shop)) as db:
        assert db.execute("SELECT MAX(gen) FROM strangler_sync_mark").fetchone() == (1,)
