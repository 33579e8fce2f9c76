"""What an order looks like to its customer, and how two views of one order may differ."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

Document = dict[str, Any]

FIXED = ("id", "number", "currency", "total", "note", "placed_at", "ship_to", "lines")
"""What nobody but the customer changes after an order was placed."""

# (status, payment) as acknowledged -> what the provider's late answer may have made of it since.
SETTLES: Mapping[tuple[str, str], frozenset[tuple[str, str]]] = {
    ("pending", "open"): frozenset({("pending", "paid"), ("paid", "paid"), ("pending", "failed")}),
    ("pending", "paid"): frozenset({("paid", "paid")}),  # the money is here, and the order is about to be told
    ("cancelled", "open"): frozenset(
        {("cancelled", "paid"), ("cancelled", "refunding"), ("cancelled", "refunded"), ("cancelled", "failed")}
    ),
    ("cancelled", "paid"): frozenset({("cancelled", "refunding"), ("cancelled", "refunded")}),
    ("cancelled", "refunding"): frozenset({("cancelled", "refunded")}),
}


def differences(acknowledged: Document, seen: Document) -> list[str]:
    """Return how ``seen`` contradicts what was ``acknowledged``; a settled payment is no contradiction."""
    found = [
        f"{name}: acknowledged {acknowledged.get(name)!r}, seen {seen.get(name)!r}"
        for name in FIXED
        if acknowledged.get(name) != seen.get(name)
    ]
    before = (str(acknowledged.get("status")), str(acknowledged.get("payment")))
    after = (str(seen.get("status")), str(seen.get("payment")))
    if after != before and after not in SETTLES.get(before, frozenset()):
        found.append(f"status, payment: acknowledged {before}, seen {after}")
    times = {"paid_at": after != before and after[0] == "paid", "closed_at": False}
    found += [
        f"{name}: acknowledged {acknowledged.get(name)!r}, seen {seen.get(name)!r}"
        for name, may_come in times.items()
        if acknowledged.get(name) != seen.get(name) and not (may_come and acknowledged.get(name) is None)
    ]
    return found


def total_of(lines: list[Document]) -> Decimal:
    """Return what the lines add up to."""
    return sum((Decimal(line["unit_price"]) * line["quantity"] for line in lines), Decimal(0))


def wrong_in_answer(
    document: Document, *, wanted: Mapping[int, int], ship_to: Mapping[str, str] | None, note: str
) -> list[str]:
    """Return how the answer to an order differs from what was ordered."""
    found = []
    got = {line["product"]: line["quantity"] for line in document["lines"]}
    if got != dict(wanted):
        found.append(f"ordered {dict(wanted)}, got {got}")
    if Decimal(document["total"]) != total_of(document["lines"]):
        found.append(f"total {document['total']} of lines that add up to {total_of(document['lines'])}")
    if document["note"] != note:
        found.append(f"note {document['note']!r} instead of {note!r}")
    if ship_to is not None and document["ship_to"] != dict(ship_to):
        found.append(f"ships to {document['ship_to']} instead of {dict(ship_to)}")
    return found
