"""Corrupt orders by SQL, past every trigger, in ways that backups, disks and careless hands do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from demo.homes import Connection, Home

AT_REST = (40, 90, 95)
"""Orders in these states, from before the run, are changed by nobody any more."""
FAR_ABOVE = 1_000_000
"""What the id of an order that nobody placed lies above all others, still below those that the service will give."""


@dataclass(frozen=True, kw_only=True)
class Plant:
    """One thing that was made wrong, and what a comparison has to call it."""

    what: str
    where: str
    order_id: int
    kind: str

    @property
    def shows(self) -> bool:
        """Whether the rows themselves are wrong, and not only what is noted about them."""
        return self.kind != "version"

    def __str__(self) -> str:
        return f"{self.what} in {self.where}, order {self.order_id}"


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A way to make an order wrong."""

    what: str
    kind: str
    spoil: Callable[[Connection, int], None]


def wrong_amount(own: Connection, order_id: int) -> None:
    """Make an order a cent dearer."""
    own.execute(f"UPDATE own_store_order SET total_minor = total_minor + 1 WHERE id = {order_id}")


def lost_line(own: Connection, order_id: int) -> None:
    """Take a line out of an order."""
    own.execute(
        f"DELETE FROM own_store_item WHERE id = (SELECT MIN(id) FROM own_store_item WHERE order_id = {order_id})"
    )


def lost_order(own: Connection, order_id: int) -> None:
    """Take an order away with all that belongs to it."""
    own.execute(f"DELETE FROM own_store_attempt WHERE order_id = {order_id}")
    own.execute(f"DELETE FROM own_store_item WHERE order_id = {order_id}")
    own.execute(f"DELETE FROM own_store_order WHERE id = {order_id}")


def old_version(own: Connection, order_id: int) -> None:
    """Let the store believe that it has not got an order's last change."""
    own.execute(f"UPDATE strangler_sync_applied SET gen = gen - 1 WHERE aggregate = 'orders' AND key = '{order_id}'")


def invented_order(own: Connection, order_id: int) -> int:
    """Put in an order that nobody placed, like another one; return its id."""
    new = order_id + FAR_ABOVE
    own.execute(
        "INSERT INTO own_store_order (id, reference, buyer, state, given_name, family_name, street, town, postal_code,"
        " country, address_entry, currency, total_minor, remark, ordered_at, paid_at, ended_at)"
        f" SELECT {new}, 'X{new}', buyer, state, given_name, family_name, street, town, postal_code, country,"
        f" address_entry, currency, total_minor, remark, ordered_at, paid_at, ended_at FROM own_store_order"
        f" WHERE id = {order_id}"
    )
    return new


def other_street(shop: Connection, order_id: int) -> None:
    """Change where an order was sent to, in the shop, without anything noting it."""
    shop.execute(f"UPDATE orders_order SET ship_street = 'Nowhere ' || id WHERE id = {order_id}")


AT_THE_SERVICE: Sequence[Damage] = (
    Damage(what="an amount", kind="changed", spoil=wrong_amount),
    Damage(what="a line that is gone", kind="changed", spoil=lost_line),
    Damage(what="an order that is gone", kind="missing", spoil=lost_order),
    Damage(what="an old version", kind="version", spoil=old_version),
)
IN_THE_SHOP: Sequence[Damage] = (Damage(what="a street", kind="changed", spoil=other_street),)


def resting(shop: Connection, *, before: int, count: int) -> list[int]:
    """Return orders with lines that nobody changes any more, spread over all there are."""
    states = ", ".join(map(str, AT_REST))
    rows = shop.execute(
        f"SELECT o.id FROM orders_order o WHERE o.status IN ({states}) AND o.id <= {before}"
        " AND EXISTS (SELECT 1 FROM orders_orderline l WHERE l.order_id = o.id) ORDER BY o.id"
    )
    ids = [row["id"] for row in rows]
    if len(ids) < count:
        raise ValueError(f"Only {len(ids)} orders are at rest; {count} are to be corrupted.")
    return [ids[number * len(ids) // count] for number in range(count)]


def plant(shop: Home, own: Home, *, before: int) -> list[Plant]:
    """Make orders wrong in both homes; ``before`` is the last order that nobody of this run placed."""
    damages = len(AT_THE_SERVICE) + len(IN_THE_SHOP)
    with shop.reading() as connection:
        ids = resting(connection, before=before, count=damages + 1)
    planted = []
    with own.past_triggers() as connection:
        planted += _spoil(connection, AT_THE_SERVICE, ids, "the service's store")
        new = invented_order(connection, ids[-1])
        planted.append(Plant(what="an order nobody placed", where="the service's store", order_id=new, kind="extra"))
    with shop.past_triggers() as connection:
        planted += _spoil(connection, IN_THE_SHOP, ids[len(AT_THE_SERVICE) :], "the shop")
    return planted


def _spoil(connection: Connection, damages: Sequence[Damage], ids: Sequence[int], where: str) -> list[Plant]:
    planted = []
    for damage, order_id in zip(damages, ids, strict=False):
        damage.spoil(connection, order_id)
        planted.append(Plant(what=damage.what, where=where, order_id=order_id, kind=damage.kind))
    return planted
