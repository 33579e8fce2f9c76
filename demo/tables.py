"""Read the shop's SQLite file with SQL of our own, so that a check shares no code with what it checks."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from demo.documents import Document

STATUSES = {10: "pending", 20: "paid", 30: "shipped", 40: "completed", 90: "cancelled", 95: "expired"}
DEAD = (90, 95)
"""Orders in these states have given their stock back."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One row of the shop's ledger of payments."""

    key: str
    """The idempotency key at the provider, 32 hexadecimal digits."""
    order_id: int
    order_number: str
    kind: str
    state: str
    minor: int
    told: bool = True
    """Whether the order knows that its money is here."""

    @property
    def unfinished(self) -> bool:
        """Whether somebody still has to do something about it."""
        return self.state == "open" or (self.kind == "charge" and self.state == "succeeded" and not self.told)


@dataclass(frozen=True, kw_only=True)
class Person:
    """A customer of the shop, and the token of its programs."""

    user_id: int
    username: str
    token: str


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What became of one order, as far as its customer is told of it."""

    order_id: int
    number: str
    customer_id: int
    email: str
    status: str
    total: Decimal
    paid: bool


@dataclass(frozen=True, kw_only=True)
class Points:
    """One booking of loyalty points."""

    order_id: int
    customer_id: int
    points: int


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file for reading only."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)
    connection.row_factory = sqlite3.Row
    try:
        yield connection
    finally:
        connection.close()


def one(connection: sqlite3.Connection, sql: str, *values: Any) -> Any:
    """Return the only value of the only row of a query."""
    return connection.execute(sql, values).fetchone()[0]


def people(connection: sqlite3.Connection, prefix: str) -> list[Person]:
    """Return the customers with a token whose name begins with ``prefix``."""
    rows = connection.execute(
        "SELECT u.id, u.username, t.key FROM auth_user u JOIN authtoken_token t ON t.user_id = u.id"
        " WHERE u.username LIKE ? || '%' AND u.is_active AND NOT u.is_staff ORDER BY u.id",
        (prefix,),
    )
    return [Person(user_id=row[0], username=row[1], token=row[2]) for row in rows]


def attempts(connection: sqlite3.Connection) -> list[Attempt]:
    """Return everything the shop ever asked of the provider."""
    rows = connection.execute(
        "SELECT a.provider_key, a.order_id, o.number, a.kind, a.state, a.amount, a.told_at"
        " FROM payments_paymentattempt a JOIN orders_order o ON o.id = a.order_id ORDER BY a.id"
    )
    return [
        Attempt(
            key=UUID(row["provider_key"]).hex,
            order_id=row["order_id"],
            order_number=row["number"],
            kind=row["kind"],
            state=row["state"],
            minor=int(money(row["amount"]) * 100),
            told=row["told_at"] is not None,
        )
        for row in rows
    ]


def orders_by_reference(connection: sqlite3.Connection) -> dict[str, list[Document]]:
    """Return the documents of all orders that carry a reference of the demo's customers in their note."""
    lines: dict[int, list[Document]] = defaultdict(list)
    for row in connection.execute(
        "SELECT l.* FROM orders_orderline l JOIN orders_order o ON o.id = l.order_id"
        " WHERE o.note LIKE 'demo-%' ORDER BY l.order_id, l.id"
    ):
        lines[row["order_id"]].append(
            {
                "product": row["product_id"],
                "sku": row["sku"],
                "name": row["name"],
                "quantity": row["quantity"],
                "unit_price": str(money(row["unit_price"])),
                "amount": str(money(row["amount"])),
            }
        )
    payments = payment_states(attempts(connection))
    found: dict[str, list[Document]] = defaultdict(list)
    for row in connection.execute("SELECT * FROM orders_order WHERE note LIKE 'demo-%' ORDER BY id"):
        found[row["note"]].append(_document(row, lines[row["id"]], payments.get(row["id"], "none")))
    return dict(found)


def payment_states(rows: list[Attempt]) -> dict[int, str]:
    """Return, per order, the word that its document uses for the state of its payment."""
    states: dict[int, dict[str, list[str]]] = defaultdict(lambda: {"charge": [], "refund": []})
    for row in rows:
        states[row.order_id][row.kind].append(row.state)
    words = {}
    for order_id, kinds in states.items():
        ladder = (
            ("succeeded", "refund", "refunded"),
            ("open", "refund", "refunding"),
            ("succeeded", "charge", "paid"),
            ("open", "charge", "open"),
            ("failed", "charge", "failed"),
        )
        words[order_id] = next((word for state, kind, word in ladder if state in kinds[kind]), "none")
    return words


def last_order(connection: sqlite3.Connection) -> int:
    """Return the highest id of an order."""
    return int(one(connection, "SELECT COALESCE(MAX(id), 0) FROM orders_order"))


def fates(connection: sqlite3.Connection, *, after: int) -> list[Fate]:
    """Return what became of every order with a higher id, whoever placed it."""
    rows = connection.execute(
        "SELECT o.id, o.number, o.customer_id, u.email, o.status, o.total, o.paid_at FROM orders_order o"
        " JOIN auth_user u ON u.id = o.customer_id WHERE o.id > ? ORDER BY o.id",
        (after,),
    )
    return [
        Fate(
            order_id=row["id"],
            number=row["number"],
            customer_id=row["customer_id"],
            email=row["email"],
            status=STATUSES.get(row["status"], f"unknown {row['status']}"),
            total=money(row["total"]),
            paid=row["paid_at"] is not None,
        )
        for row in rows
    ]


def points(connection: sqlite3.Connection) -> list[Points]:
    """Return every booking of loyalty points."""
    rows = connection.execute("SELECT order_id, user_id, points FROM accounts_loyaltybooking ORDER BY id")
    return [Points(order_id=row[0], customer_id=row[1], points=row[2]) for row in rows]


def balances(connection: sqlite3.Connection) -> dict[int, int]:
    """Return the points that each customer's profile says, but for those that say none."""
    rows = connection.execute("SELECT user_id, loyalty_points FROM accounts_profile WHERE loyalty_points != 0")
    return {row[0]: row[1] for row in rows}


def placed_by_pages(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many orders the shop's pages placed through the seam, by the side that did it."""
    rows = connection.execute(
        "SELECT side, SUM(count) FROM router_trafficcount WHERE service = 'orders' AND route = 'seam:place'"
        " AND kind = 'write' AND outcome IN ('ok', 'replayed') GROUP BY side"
    )
    return {row[0]: int(row[1]) for row in rows}


def stock(connection: sqlite3.Connection) -> dict[int, int]:
    """Return, per product, the pieces on hand plus those in orders that live: no sale or return changes it."""
    rows = connection.execute(
        "SELECT s.product_id, s.on_hand + COALESCE((SELECT SUM(l.quantity) FROM orders_orderline l"
        " JOIN orders_order o ON o.id = l.order_id WHERE l.product_id = s.product_id"
        f" AND o.status NOT IN ({', '.join(map(str, DEAD))})), 0) FROM catalog_stock s"
    )
    return {row[0]: row[1] for row in rows}


def overdue_claims(connection: sqlite3.Connection, moment: datetime) -> list[str]:
    """Return the idempotency keys that somebody claimed and neither finished nor gave up by the end of the lease."""
    rows = connection.execute(
        "SELECT scope, key, holder, lease_until FROM strangler_idempotency_idempotencykey WHERE state = 'claimed'"
    )
    return [
        f"{row['scope']}/{row['key']} of {row['holder']}, lease until {row['lease_until']}"
        for row in rows
        if datetime.fromisoformat(row["lease_until"]).replace(tzinfo=UTC) < moment
    ]


def traffic_counts(connection: sqlite3.Connection) -> dict[tuple[str, str, str], int]:
    """Return what the router counted, by (kind, side, outcome)."""
    rows = connection.execute(
        "SELECT kind, side, outcome, SUM(count) FROM router_trafficcount WHERE service = 'orders' GROUP BY 1, 2, 3"
    )
    return {(row[0], row[1], row[2]): int(row[3]) for row in rows}


def comparisons(connection: sqlite3.Connection, store: str) -> Counter[str]:
    """Return how comparisons with one store of the service came out."""
    rows = connection.execute(
        "SELECT outcome, SUM(count) FROM router_trafficcount WHERE service = 'orders' AND store = ? GROUP BY outcome",
        (store,),
    )
    return Counter({row[0]: int(row[1]) for row in rows})


def breaker_moves(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return each change of state of a breaker of the orders service, as (before, after), oldest first."""
    rows = connection.execute(
        "SELECT previous, state FROM router_breakerevent WHERE service = 'orders' ORDER BY at, id"
    )
    return [(row[0], row[1]) for row in rows]


def money(value: Any) -> Decimal:
    """Return an amount as SQLite hands it out (integer, float or text) in exact cents."""
    return Decimal(str(value)).quantize(Decimal("0.01"))


def moment(text: str | None) -> str | None:
    """Return a time as Django keeps it in SQLite in the form that documents use."""
    if text is None:
        return None
    return datetime.fromisoformat(text).replace(tzinfo=UTC).isoformat()


def _document(row: sqlite3.Row, lines: list[Document], payment: str) -> Document:
    return {
        "id": row["id"],
        "number": row["number"],
        "status": STATUSES.get(row["status"], f"unknown {row['status']}"),
        "payment": payment,
        "currency": row["currency"],
        "total": str(money(row["total"])),
        "note": row["note"],
        "placed_at": moment(row["placed_at"]),
        "paid_at": moment(row["paid_at"]),
        "closed_at": moment(row["closed_at"]),
        "ship_to": {part: row[f"ship_{part}"] for part in ("name", "street", "city", "postcode", "country")},
        "lines": lines,
    }
