"""Read orders in both of their homes with SQL of our own, and compare them: nothing of what syncs them is used here.

The shop keeps an order as it always did; the service's own store has other tables, other words, and cents. Here both
become the same plain rows.
"""

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from demo.tables import STATUSES, money, reading

Row = dict[str, Any]
Orders = dict[int, Row]
"""By id; lines and attempts of an order are rows by their ids."""

SHOP_ORDER = (
    "SELECT id, number, customer_id AS customer, status, ship_name AS recipient, ship_street AS street,"
    " ship_city AS city, ship_postcode AS postcode, ship_country AS country, shipping_address_id AS address_entry,"
    " currency, total, note, placed_at, paid_at, closed_at FROM orders_order {where}"
)
SHOP_LINE = "SELECT id, order_id, product_id, sku, name, quantity, unit_price, amount FROM orders_orderline {where}"
SHOP_ATTEMPT = (
    "SELECT id, order_id, kind, state, amount, currency, card, provider_key, provider_reference, failure, created_at,"
    " settled_at, told_at FROM payments_paymentattempt {where}"
)
OWN_ORDER = (
    "SELECT id, reference AS number, buyer AS customer, state AS status, given_name, family_name, street,"
    " town AS city, postal_code AS postcode, country, address_entry,"
    " currency, total_minor AS total, remark AS note, ordered_at AS placed_at, paid_at, ended_at AS closed_at"
    " FROM own_store_order {where}"
)
OWN_LINE = (
    "SELECT id, order_id, product AS product_id, sku, title AS name, pieces AS quantity, unit_minor AS unit_price,"
    " amount_minor AS amount FROM own_store_item {where}"
)
OWN_ATTEMPT = (
    "SELECT id, order_id, direction AS kind, state, amount_minor AS amount, currency, card_token AS card, provider_key,"
    " provider_reference, failure, opened_at AS created_at, settled_at, told_at FROM own_store_attempt {where}"
)
MOMENTS = frozenset({"placed_at", "paid_at", "closed_at", "created_at", "settled_at", "told_at"})
MONEY = frozenset({"total", "unit_price", "amount"})
ONLY_SHOP, ONLY_OWN = "is only in the shop", "is only in the service's store"


class Connection(Protocol):
    """What sqlite3's and psycopg's connections have in common."""

    def execute(self, query: Any, /) -> Any:
        """Run a statement and return what can be iterated for its rows."""


class Home(Protocol):
    """A database in which orders live."""

    def reading(self) -> Any:
        """Open it to read, for the length of a with block."""

    def past_triggers(self) -> Any:
        """Write in one transaction that no trigger sees, for the length of a with block."""


@dataclass(frozen=True)
class SqliteHome:
    """A file."""

    path: Path

    def reading(self) -> Any:
        """Open the file for reading only."""
        return reading(self.path)

    @contextmanager
    def past_triggers(self) -> Iterator[Connection]:
        """Take every trigger away, write, and put them back as they were, all in one transaction."""
        connection = sqlite3.connect(self.path, timeout=20, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for name, _ in triggers:
                connection.execute(f'DROP TRIGGER "{name}"')
            yield connection
            for _, statement in triggers:
                connection.execute(statement)
            connection.execute("COMMIT")
        finally:
            connection.close()


@dataclass(frozen=True)
class PostgresHome:
    """A database of a PostgreSQL server."""

    url: str

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that sees one state of everything."""
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield connection

    @contextmanager
    def past_triggers(self) -> Iterator[Connection]:
        """Write as a replica does, whose triggers are silent; only a superuser may."""
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            connection.execute("SET LOCAL session_replication_role = replica")
            connection.execute("SELECT set_config('strangler.applying', '1', true)")  # for those that always fire
            yield connection


def home_of(url: str) -> Home:
    """Return the database that an address names."""
    if url.startswith("sqlite:///"):
        return SqliteHome(Path(url.removeprefix("sqlite:///")))
    return PostgresHome(url)


def tables_of(url: str) -> int:
    """Return how many tables a PostgreSQL database holds."""
    with PostgresHome(url).reading() as connection:
        (row,) = connection.execute("SELECT COUNT(*) AS n FROM information_schema.tables WHERE table_schema = 'public'")
        return int(row["n"])


# --- reading --------------------------------------------------------------------------------------------------
def shop_orders(connection: Connection, ids: Collection[int] | None = None) -> Orders:
    """Return the shop's orders, all of them or those with some ids."""
    return _orders(connection, (SHOP_ORDER, SHOP_LINE, SHOP_ATTEMPT), ids, _of_shop)


def own_orders(connection: Connection, ids: Collection[int] | None = None) -> Orders:
    """Return the orders in the service's own store, all of them or those with some ids."""
    return _orders(connection, (OWN_ORDER, OWN_LINE, OWN_ATTEMPT), ids, _of_own)


def _orders(connection: Connection, selects: tuple[str, str, str], ids: Collection[int] | None, read: Any) -> Orders:
    order, line, attempt = selects
    found: Orders = {}
    for row in connection.execute(order.format(where=_where("id", ids))):
        found[row["id"]] = {**read(dict(row)), "lines": {}, "attempts": {}}
    for name, select in (("lines", line), ("attempts", attempt)):
        for row in connection.execute(select.format(where=_where("order_id", ids))):
            plain = read(dict(row))
            if plain["order_id"] in found:  # on SQLite the tables are read one after the other
                found[plain.pop("order_id")][name][plain["id"]] = plain
    return found


def _where(column: str, ids: Collection[int] | None) -> str:
    return "" if ids is None else f"WHERE {column} IN ({', '.join(str(int(one)) for one in ids) or 'NULL'})"


def _of_shop(row: Row) -> Row:
    """Return a row of the shop in plain values."""
    if "status" in row:
        row["status"] = STATUSES.get(row["status"], f"unknown {row['status']}")
    for name in MONEY & row.keys():
        row[name] = int(money(row[name]) * 100)
    return _plain(row)


def _of_own(row: Row) -> Row:
    """Return a row of the service in plain values, the recipient's name in one piece."""
    if "family_name" in row:
        given, family = row.pop("given_name"), row.pop("family_name")
        row["recipient"] = family if given is None else f"{given} {family}"
    return _plain(row)


def _plain(row: Row) -> Row:
    for name in MOMENTS & row.keys():
        row[name] = moment(row[name])
    if "provider_key" in row:
        row["provider_key"] = UUID(str(row["provider_key"])).hex
    return row


def moment(value: Any) -> datetime | None:
    """Return a time as either database hands it out."""
    if value is None:
        return None
    at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


# --- comparing ------------------------------------------------------------------------------------------------
def differences(shop: Orders, own: Orders) -> dict[int, str]:
    """Return, by order, how the homes differ."""
    found = {}
    for order_id in sorted(shop.keys() | own.keys()):
        here, there = shop.get(order_id), own.get(order_id)
        if here != there:
            found[order_id] = _difference(here, there)
    return found


def _difference(here: Row | None, there: Row | None) -> str:
    if here is None or there is None:
        return ONLY_OWN if here is None else ONLY_SHOP
    told = [
        f"{name} is {here[name]!r} in the shop and {there[name]!r} at the service"
        for name in here
        if name not in ("lines", "attempts") and here[name] != there[name]
    ]
    return ", ".join([*told, *_of_parts(here, there)])


def _of_parts(here: Row, there: Row) -> Iterator[str]:
    for part in ("lines", "attempts"):
        mine: Mapping[int, Row] = here[part]
        theirs: Mapping[int, Row] = there[part]
        wrong = sorted(one for one in mine.keys() | theirs.keys() if mine.get(one) != theirs.get(one))
        if wrong:
            yield f"{part} {', '.join(map(str, wrong))} differ"


def compare(shop: Home, own: Home, ids: Collection[int] | None = None) -> dict[int, str]:
    """Compare both homes as they are now; what is on its way differs."""
    with own.reading() as there:
        held = own_orders(there, ids)
    with shop.reading() as here:
        return differences(shop_orders(here, ids), held)


def counts(shop: Home, own: Home) -> tuple[int, int]:
    """Return how many orders each home has."""
    with shop.reading() as here, own.reading() as there:
        return _count(here, "orders_order"), _count(there, "own_store_order")


def _count(connection: Connection, table: str) -> int:
    (row,) = connection.execute(f"SELECT COUNT(*) AS n FROM {table}")
    return int(row["n"])
