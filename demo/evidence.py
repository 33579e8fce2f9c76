"""Gather, after traffic has ended, everything that the checks look at."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

from demo import event_tables, mails, tables
from demo.checks import Booking, Evidence
from demo.documents import Document
from demo.effects import Effects
from demo.run import Run
from demo.site import Site
from demo.waiting import WaitedTooLong, until

CLAIMED = ("fallback_claimed", "replayed")
"""Outcomes of writes that were sent and not answered: the key decided."""
FALLBACKS = ("fallback_not_sent", "fallback_claimed", "fallback_failed")


def settle(run: Run) -> None:
    """Bring what is under way to its end: open payments, claims of dead processes, counts not yet written."""
    run.terminal.run("settle_payments", "--older-than", "0", seconds=run.deadline.left(60))

    def at_rest() -> bool:
        with tables.reading(run.site.database) as connection:
            left = [attempt for attempt in tables.attempts(connection) if attempt.unfinished]
        if left:
            run.terminal.run("settle_payments", "--older-than", "0", seconds=run.deadline.left(60))
        return not left

    until(at_rest, seconds=run.deadline.left(30), what="every payment is settled")
    try:
        until(partial(_events_at_rest, run), seconds=run.deadline.left(90), what="every event is delivered and handled")
    except WaitedTooLong as error:
        run.problem(str(error))  # the checks say which are not
    seen = run.counts()

    def flushed() -> bool:
        nonlocal seen
        before, seen = seen, run.counts()
        return seen == before

    until(flushed, seconds=run.deadline.left(20), what="the router has written its counts", pause=2.5)


def _events_at_rest(run: Run) -> bool:
    run.stack.check_alive()
    with tables.reading(run.site.database) as connection:
        return event_tables.tally(connection).at_rest


@dataclass(frozen=True, kw_only=True)
class Before:
    """How things stood before anybody bought."""

    stock: Mapping[int, int]
    last_order: int


def look_before(site: Site) -> Before:
    """Return how things stand now."""
    with tables.reading(site.database) as connection:
        return Before(stock=tables.stock(connection), last_order=tables.last_order(connection))


def gather(run: Run, before: Before) -> Evidence:
    """Return the evidence as it is now."""
    shadow = run.terminal.json("shadow", "report", "orders", seconds=run.deadline.left(30))
    with tables.reading(run.site.database) as connection:
        moves = tables.breaker_moves(connection)
        counts = tables.traffic_counts(connection)
        found = tables.orders_by_reference(connection)
        attempts = tables.attempts(connection)
        stock_after = tables.stock(connection)
        overdue = tables.overdue_claims(connection, datetime.now(UTC))
    return Evidence(
        requests=len(run.log),
        failures=run.log.failures(),
        read_backs_wrong=tuple(run.log.differences),
        acknowledged=acknowledged(run),
        asked={reference for customer in run.customers for reference in customer.asked},
        doubtful={customer.orders[order_id]["note"] for customer in run.customers for order_id in customer.doubtful},
        found=found,
        attempts=attempts,
        bookings=bookings(run.switches.ledger()),
        stock_before=before.stock,
        stock_after=stock_after,
        overdue_claims=overdue,
        comparisons=int(shadow["compared"]),
        shadow_mismatches=int(shadow["mismatched"]),
        breakers_opened=sum(1 for _, after in moves if after == "open"),
        breakers_closed=sum(1 for before, after in moves if after == "closed" and before != "closed"),
        ambiguous=sum(n for (kind, _, outcome), n in counts.items() if kind == "write" and outcome in CLAIMED),
        fallbacks=sum(n for (_, _, outcome), n in counts.items() if outcome in FALLBACKS),
        act_problems=tuple(run.problems),
        effects=effects(run, after=before.last_order),
        synced=run.synced,
    )


def effects(run: Run, *, after: int) -> Effects:
    """Return what followed from the orders above an id."""
    with tables.reading(run.site.database) as connection:
        return Effects(
            fates=tables.fates(connection, after=after),
            mails=mails.delivered(run.site.mails),
            suppressed=mails.suppressed(run.site.mails),
            points=tables.points(connection),
            balances=tables.balances(connection),
            events=event_tables.tally(connection),
            served={number for customer in run.customers for number in customer.served},
            pages=tables.placed_by_pages(connection),
            troubles=run.troubles,
        )


def acknowledged(run: Run) -> dict[str, Document]:
    """Return every order that a customer was ever told it has, by reference."""
    return {document["note"]: document for customer in run.customers for document in customer.orders.values()}


def bookings(ledger: Any) -> list[Booking]:
    """Return the provider's rows in the form the checks compare."""
    return [
        Booking(
            key=UUID(row["key"]).hex,
            kind=kind,
            status=row["status"],
            minor=row["amount_minor"],
            reference=row["reference"],
            charge=row.get("charge") or "",
        )
        for kind in ("charge", "refund")
        for row in ledger[f"{kind}s"]
    ]
