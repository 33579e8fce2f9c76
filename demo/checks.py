"""What has to hold at the end of the demo. Pure functions over evidence: each returns what is wrong, or nothing."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from demo import effects, sync_checks
from demo.documents import Document, differences
from demo.effects import EffectFloors, Effects
from demo.sync_checks import Synced, SyncFloors
from demo.tables import Attempt

MOMENTS = ("placed_at", "paid_at", "closed_at")


@dataclass(frozen=True, kw_only=True)
class Booking:
    """One row of the provider's own ledger."""

    key: str
    kind: str
    status: str
    minor: int
    reference: str
    charge: str = ""


@dataclass(frozen=True, kw_only=True)
class Floors:
    """How much has to have happened for the run to prove anything."""

    requests: int = 2000
    orders: int = 200
    comparisons: int = 500
    breakers_opened: int = 1
    breakers_closed: int = 1
    ambiguous: int = 1
    fallbacks: int = 1
    effects: EffectFloors = field(default_factory=EffectFloors)
    synced: SyncFloors = field(default_factory=SyncFloors)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything the checks look at, gathered after traffic has ended and payments have settled."""

    requests: int
    failures: Sequence[str]
    read_backs_wrong: Sequence[str]
    acknowledged: Mapping[str, Document]
    """By the customers' references, as last acknowledged to them."""
    asked: Collection[str]
    """Every reference that a customer ever sent."""
    doubtful: Collection[str]
    """References with a change nobody answered: their contents are not known to their customers."""
    found: Mapping[str, Sequence[Document]]
    attempts: Sequence[Attempt]
    bookings: Sequence[Booking]
    stock_before: Mapping[int, int]
    stock_after: Mapping[int, int]
    overdue_claims: Sequence[str]
    comparisons: int
    shadow_mismatches: int
    breakers_opened: int
    breakers_closed: int
    ambiguous: int
    fallbacks: int
    effects: Effects
    synced: Synced = field(default_factory=Synced)
    act_problems: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that has to hold, and what was found against it."""

    name: str
    problems: Sequence[str]

    @property
    def held(self) -> bool:
        """Whether nothing was found against it."""
        return not self.problems


def lost(evidence: Evidence) -> list[str]:
    """Find acknowledged orders that are not there."""
    return [
        f"{reference}: order {document['id']} was acknowledged and is not in the database"
        for reference, document in evidence.acknowledged.items()
        if not evidence.found.get(reference)
    ]


def duplicated(evidence: Evidence) -> list[str]:
    """Find orders that are there more often than they were asked for."""
    twice = [
        f"{reference}: asked for once, there as orders {[order['id'] for order in orders]}"
        for reference, orders in evidence.found.items()
        if len(orders) > 1
    ]
    return twice + [
        f"{reference}: nobody asked for it" for reference in evidence.found if reference not in evidence.asked
    ]


def mismatched(evidence: Evidence) -> list[str]:
    """Find orders whose contents are not as acknowledged, at the end or in between, and answers that differed."""
    wrong = list(evidence.read_backs_wrong)
    for reference, document in evidence.acknowledged.items():
        for order in evidence.found.get(reference, ())[:1]:
            if reference not in evidence.doubtful:
                wrong += [f"{reference}: {what}" for what in differences(_comparable(document), _comparable(order))]
    if evidence.shadow_mismatches:
        wrong.append(f"{evidence.shadow_mismatches} shadowed answers differed; see manage.py shadow report orders")
    return wrong


def lost_altogether(evidence: Evidence) -> list[str]:
    """Find everything that should be there and is not: orders, mails, bookings."""
    return [*lost(evidence), *effects.lost(evidence.effects), *sync_checks.lost(evidence.synced)]


def duplicated_altogether(evidence: Evidence) -> list[str]:
    """Find everything that is there more often than it should be."""
    return [*duplicated(evidence), *effects.duplicated(evidence.effects), *sync_checks.duplicated(evidence.synced)]


def mismatched_altogether(evidence: Evidence) -> list[str]:
    """Find everything that is not as it should be."""
    return [*mismatched(evidence), *effects.mismatched(evidence.effects), *sync_checks.mismatched(evidence.synced)]


def unfinished(evidence: Evidence) -> list[str]:
    """Find work that was begun and never ended: payments left open, idempotency keys left claimed."""
    left = [f"{a.kind} {a.key} of {a.order_number} is left {a.state}" for a in evidence.attempts if a.unfinished]
    return left + [f"claim {claim} is overdue" for claim in evidence.overdue_claims]


def unhandled(evidence: Evidence) -> list[str]:
    """Find events that were not delivered, not handled, or given up."""
    return effects.unfinished(evidence.effects)


def unmatched_money(evidence: Evidence) -> list[str]:
    """Find payments that only one of shop and provider knows of, or on which they disagree."""
    shop = {(a.kind, a.key): a.minor for a in evidence.attempts if a.state == "succeeded"}
    provider = {(b.kind, b.key): b.minor for b in evidence.bookings if b.status == "succeeded"}
    wrong = []
    for kind, key in sorted(shop.keys() | provider.keys()):
        here, there = shop.get((kind, key)), provider.get((kind, key))
        if here != there:
            wrong.append(f"{kind} {key}: {_amount(here)} in the shop, {_amount(there)} at the provider")
    return wrong


def wrongly_charged(evidence: Evidence) -> list[str]:
    """Find orders that were charged twice, paid orders without a charge, and dead ones whose money stayed here."""
    kept: Counter[str] = Counter()
    for booking in evidence.bookings:
        if booking.status == "succeeded":
            kept[booking.reference] += booking.minor if booking.kind == "charge" else -booking.minor
    charges: Counter[str] = Counter(
        b.reference for b in evidence.bookings if b.kind == "charge" and b.status == "succeeded"
    )
    refunds: Counter[str] = Counter(
        b.reference for b in evidence.bookings if b.kind == "refund" and b.status == "succeeded"
    )
    wrong = [
        f"order {reference} was charged {count} times and refunded {refunds[reference]} times"
        for reference, count in charges.items()
        if count - refunds[reference] > 1
    ]
    for orders in evidence.found.values():
        for order in orders:
            due = int(Decimal(order["total"]) * 100) if order["status"] == "paid" else 0
            if kept[order["number"]] != due:
                wrong.append(
                    f"order {order['number']} is {order['status']} with {_amount(kept[order['number']])} kept for it, "
                    f"{_amount(due)} due"
                )
    return wrong


def stock_moved(evidence: Evidence) -> list[str]:
    """Find products of which pieces appeared or vanished."""
    before, after = evidence.stock_before, evidence.stock_after
    return [
        f"product {product}: {before.get(product)} pieces before, {after.get(product)} after"
        for product in sorted(before.keys() | after.keys())
        if before.get(product) != after.get(product)
    ]


def too_thin(evidence: Evidence, floors: Floors) -> list[str]:
    """Find what happened too seldom to prove anything."""
    counted = {
        "requests": (evidence.requests, floors.requests),
        "acknowledged orders": (len(evidence.acknowledged), floors.orders),
        "shadow comparisons": (evidence.comparisons, floors.comparisons),
        "breakers opened": (evidence.breakers_opened, floors.breakers_opened),
        "breakers closed again": (evidence.breakers_closed, floors.breakers_closed),
        "ambiguous writes": (evidence.ambiguous, floors.ambiguous),
        "fallbacks": (evidence.fallbacks, floors.fallbacks),
    }
    thin = [f"only {count} {name}, {floor} are needed" for name, (count, floor) in counted.items() if count < floor]
    return [
        *thin,
        *effects.too_thin(evidence.effects, floors.effects),
        *sync_checks.too_thin(evidence.synced, floors.synced),
    ]


RULES: Mapping[str, Callable[[Evidence], list[str]]] = {
    "every request had a right answer within 10 s": lambda evidence: list(evidence.failures),
    "every act ended as it should": lambda evidence: list(evidence.act_problems),
    "no acknowledged order is lost": lost,
    "no order is there twice": duplicated,
    "every order is as acknowledged": mismatched,
    "no mail and no loyalty booking is missing": lambda evidence: effects.lost(evidence.effects),
    "no mail and no loyalty booking is there twice": lambda evidence: effects.duplicated(evidence.effects),
    "every mail and every booking is for what happened": lambda evidence: effects.mismatched(evidence.effects),
    "every event was delivered and handled": unhandled,
    "nothing is left unfinished": unfinished,
    "provider and shop agree on every payment": unmatched_money,
    "no order was charged twice": wrongly_charged,
    "no piece of stock appeared or vanished": stock_moved,
    "both homes hold the same orders": lambda evidence: sync_checks.unequal(evidence.synced),
    "what was corrupted was found, nothing else was, and all is mended": lambda evidence: sync_checks.not_mended(
        evidence.synced
    ),
}


def run_all(evidence: Evidence, floors: Floors) -> list[Check]:
    """Return every check with what was found against it."""
    checks = [Check(name=name, problems=tuple(rule(evidence))) for name, rule in RULES.items()]
    return [*checks, Check(name="there was enough traffic", problems=tuple(too_thin(evidence, floors)))]


def count_by_status(orders: Mapping[str, Sequence[Document]]) -> dict[str, int]:
    """Count orders by where they stand."""
    counted: dict[str, int] = defaultdict(int)
    for documents in orders.values():
        for document in documents:
            counted[document["status"]] += 1
    return dict(sorted(counted.items()))


def _comparable(document: Document) -> Document:
    """Read times, so that two programs' spellings of one moment are equal."""
    times = {name: datetime.fromisoformat(document[name]) if document.get(name) else None for name in MOMENTS}
    return {**document, **times}


def _amount(minor: int | None) -> str:
    return "nothing" if minor is None else f"{minor / 100:.2f}"
