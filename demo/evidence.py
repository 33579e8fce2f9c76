"""Gather, after traffic has ended, everything that the checks look at."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from demo import tables
from demo.checks import Booking, Evidence
from demo.documents import Document
from demo.run import Run
from demo.waiting import until

CLAIMED = ("fallback_claimed", "replayed")
"""Outcomes of writes that were sent and not answered: the key decided."""
FALLBACKS = ("fallback_not_sent", "fallback_claimed", "fallback_failed")


def settle(run: Run) -> None:
    """Bring what is under way to its end: open payments, claims of dead processes, counts not yet written."""
    run.terminal.run("settle_payments", "--older-than", "0", seconds=run.deadline.left(60))

    def at_rest() -> bool:
        with tables.reading(run.site.database) as connection:
            open_attempts = [a for a in tables.attempts(connection) if a.state == "open"]
        if open_attempts:
            run.terminal.run("settle_payments", "--older-than", "0", seconds=run.deadline.left(60))
        return not open_attempts

    until(at_rest, seconds=run.deadline.left(30), what="every payment is settled")
    seen = run.counts()

    def flushed() -> bool:
        nonlocal seen
        before, seen = seen, run.counts()
        return seen == before

    until(flushed, seconds=run.deadline.left(20), what="the router has written its counts", pause=2.5)


def gather(run: Run, stock_before: Mapping[int, int]) -> Evidence:
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
        stock_before=stock_before,
        stock_after=stock_after,
        overdue_claims=overdue,
        comparisons=int(shadow["compared"]),
        shadow_mismatches=int(shadow["mismatched"]),
        breakers_opened=sum(1 for _, after in moves if after == "open"),
        breakers_closed=sum(1 for before, after in moves if after == "closed" and before != "closed"),
        ambiguous=sum(n for (kind, _, outcome), n in counts.items() if kind == "write" and outcome in CLAIMED),
        fallbacks=sum(n for (_, _, outcome), n in counts.items() if outcome in FALLBACKS),
        act_problems=tuple(run.problems),
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
