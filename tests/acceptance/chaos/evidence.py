"""Read in the end what both databases and the provider hold, with SQL of our own."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from demo import homes
from demo.provider import Ledger
from tests.acceptance.chaos.history import History
from tests.acceptance.chaos.judge import EXTRACTED, LEGACY, Evidence
from tests.acceptance.chaos.site import ChaosSite

OPEN_SAGAS = "SELECT COUNT(*) AS n FROM strangler_sagas_saga WHERE finished_at IS NULL"
HELD = "SELECT COUNT(*) AS n FROM catalog_stockreservation WHERE state = 'reserved'"
MARKED = "SELECT COUNT(*) AS n FROM strangler_sync_mark WHERE gen > acked"
PARKED = "SELECT COUNT(*) AS n FROM strangler_sync_parkeddocument"
OWNERS = "SELECT bucket, state, epoch FROM strangler_sync_ownership WHERE aggregate = 'orders'"
STOCK = "SELECT product_id, on_hand FROM catalog_stock"
OPEN_ATTEMPTS = {
    LEGACY: "SELECT COUNT(*) AS n FROM payments_paymentattempt WHERE state = 'open' OR (kind = 'charge' AND "
    "state = 'succeeded' AND told_at IS NULL)",
    EXTRACTED: "SELECT COUNT(*) AS n FROM own_store_attempt WHERE state = 'open' OR (direction = 'charge' AND "
    "state = 'succeeded' AND told_at IS NULL)",
}


def both(site: ChaosSite) -> dict[str, homes.Home]:
    """Return the two databases by the names of their sides."""
    return {LEGACY: homes.home_of(site.database_url), EXTRACTED: homes.home_of(site.own_database_url)}


def count(home: homes.Home, statement: str) -> int:
    """Return the number that a statement counts."""
    with home.reading() as connection:
        (row,) = connection.execute(statement)
        return int(row["n"])


def unfinished(site: ChaosSite) -> dict[str, int]:
    """Return what has not come to its end yet, by what it is; nothing if all has."""
    sides = both(site)
    found = {"sagas": count(sides[EXTRACTED], OPEN_SAGAS), "reservations": count(sides[LEGACY], HELD)}
    for side, home in sides.items():
        found[f"marks at {side}"] = count(home, MARKED)
        found[f"attempts at {side}"] = count(home, OPEN_ATTEMPTS[side])
    return {what: number for what, number in found.items() if number}


def owners(home: homes.Home) -> dict[int, tuple[str, int]]:
    """Return who a side is to each bucket."""
    with home.reading() as connection:
        return {row["bucket"]: (row["state"], row["epoch"]) for row in connection.execute(OWNERS)}


def gather(
    site: ChaosSite,
    history: History,
    *,
    delivered: Mapping[int, int],
    buckets: Mapping[int, int],
    verified: str,
) -> Evidence:
    """Return everything as it is now."""
    sides = both(site)
    with sides[LEGACY].reading() as connection:
        shop = homes.shop_orders(connection)
        on_hand = {row["product_id"]: row["on_hand"] for row in connection.execute(STOCK)}
    with sides[EXTRACTED].reading() as connection:
        own = homes.own_orders(connection)
    return Evidence(
        calls=history.calls,
        troubles=history.troubles,
        shop=shop,
        own=own,
        buckets=buckets,
        owners={side: owners(home) for side, home in sides.items()},
        charges=_booked(site, "charge"),
        refunds=_booked(site, "refund"),
        delivered=delivered,
        on_hand=on_hand,
        marked={side: count(home, MARKED) for side, home in sides.items()},
        parked={side: count(home, PARKED) for side, home in sides.items()},
        sagas=count(sides[EXTRACTED], OPEN_SAGAS),
        reservations=count(sides[LEGACY], HELD),
        verified=verified,
    )


def _booked(site: ChaosSite, kind: str) -> Sequence[dict[str, Any]]:
    ledger = Ledger(site.ledger)
    try:
        return ledger.rows(kind)
    except sqlite3.Error:
        ledger.close()
        raise
    finally:
        ledger.close()
