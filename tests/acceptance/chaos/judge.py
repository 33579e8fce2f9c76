"""Judge a run by what customers were told and what both databases and the provider hold in the end.

Pure functions over evidence: each returns sentences about what is wrong, none if all is well. Nothing is imported of
what is judged.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from demo.documents import Document, differences
from tests.acceptance.chaos.history import Call, Trouble, covered

Row = Mapping[str, Any]
PATIENCE = 10.0
SLACK = 1.0
"""Seconds that a customer's own machine may be late."""
RECOVERY = 2.0
"""Seconds after something is whole again until everybody has noticed: routers and breakers look each second."""
LEGACY, EXTRACTED = "legacy", "extracted"
DEAD = frozenset({"cancelled", "expired"})
GOOD = {"place": {201}, "pay": {200, 402}, "cancel": {200}, "address": {200}, "show": {200}, "list": {200}}
REFUSALS = {"pay": "not_payable", "cancel": "not_cancellable", "address": "not_changeable"}
CHANGES = {
    "pay": {"status", "payment", "paid_at"},
    "cancel": {"status", "payment", "closed_at"},
    "address": {"ship_to"},
    "place": set(),
}
"""What a write may change of an order's document."""
SETTLING = {"status", "payment", "paid_at"}
"""What the provider's answer may change at any time."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything that is known in the end."""

    calls: Sequence[Call] = ()
    troubles: Sequence[Trouble] = ()
    shop: Mapping[int, Row] = field(default_factory=dict)
    """Orders in the shop's tables, by id, as ``demo.homes`` reads them."""
    own: Mapping[int, Row] = field(default_factory=dict)
    """Orders in the service's own."""
    buckets: Mapping[int, int] = field(default_factory=dict)
    """Of each customer."""
    owners: Mapping[str, Mapping[int, tuple[str, int]]] = field(default_factory=dict)
    """By side and bucket: state and epoch."""
    charges: Sequence[Row] = ()
    refunds: Sequence[Row] = ()
    delivered: Mapping[int, int] = field(default_factory=dict)
    on_hand: Mapping[int, int] = field(default_factory=dict)
    marked: Mapping[str, int] = field(default_factory=dict)
    parked: Mapping[str, int] = field(default_factory=dict)
    sagas: int = 0
    """Those that have not ended."""
    reservations: int = 0
    """Pieces of stock that are held, by reservation."""
    claimed: Mapping[str, int] = field(default_factory=dict)
    """Idempotency keys of orders whose claims were never completed, by side."""
    verified: str = ""
    """What a verification by the toolkit found wrong; empty if nothing."""


# --- what became of writes ---------------------------------------------------------------------------------------
def lost(evidence: Evidence) -> Iterator[str]:
    """Find acknowledged writes that the final owner does not have."""
    for order_id, wanted in last_told(evidence.calls).items():
        row = _truth(evidence, wanted.customer).get(order_id)
        if row is None:
            yield f"order {order_id} ({wanted.note}) was acknowledged, and its owner has not got it"
            continue
        if row["customer"] != wanted.customer or row["note"] != wanted.note:
            yield f"order {order_id} belongs to {row['customer']} with note {row['note']!r}, told was {wanted}"
        lines = sorted((line["product_id"], line["quantity"]) for line in row["lines"].values())
        if lines != wanted.lines:
            yield f"order {order_id} holds {lines}, acknowledged were {wanted.lines}"
        if wanted.streets and row["street"] not in wanted.streets:
            yield f"order {order_id} goes to {row['street']!r}, the last that was acknowledged is {wanted.streets}"
        if wanted.cancelled is not None and (row["status"] == "cancelled") != wanted.cancelled:
            yield f"order {order_id} is {row['status']}, cancelled was acknowledged: {wanted.cancelled}"
        if wanted.paid and not any(_moved(one, "charge") for one in row["attempts"].values()):
            yield f"order {order_id} was acknowledged as paid, and its owner knows of no charge"


@dataclass(kw_only=True)
class Told:
    """What a customer was last told of an order by writes that were acknowledged."""

    customer: int
    note: str
    lines: list[tuple[int, int]]
    streets: set[str] = field(default_factory=set)
    """Where it may go: the last street that was acknowledged, and what was asked for and never answered since."""
    cancelled: bool | None = False
    paid: bool = False


def last_told(calls: Iterable[Call]) -> dict[int, Told]:
    """Return what customers were told of their orders in the end."""
    found: dict[int, Told] = {}
    for call in sorted(calls, key=lambda one: one.ended):
        if call.kind == "place" and call.status == 201:
            document = call.document
            found.setdefault(int(document["id"]), _placed(call))
        elif call.order in found:
            _tell(found[call.order], call)
    return found


def _placed(call: Call) -> Told:
    lines = sorted((int(line["product"]), int(line["quantity"])) for line in call.sent["lines"])
    street = call.sent["address"]["street"]
    return Told(
        customer=call.customer,
        note=call.sent["note"],
        lines=lines,
        streets={street},
        paid=call.document["payment"] == "paid",
    )


def _tell(told: Told, call: Call) -> None:
    done = call.status in GOOD[call.kind]
    open_end = call.status == 0 or call.status >= 500
    if call.kind == "address" and (done or open_end):
        street = call.sent["street"]
        told.streets = {street} if done else told.streets | {street}
    if call.kind == "cancel" and (done or open_end):
        told.cancelled = True if done else (told.cancelled or None)
    if call.kind == "pay" and call.status == 200 and call.document["payment"] == "paid":
        told.paid = True


def twice(evidence: Evidence) -> Iterator[str]:
    """Find what took effect more than once, or that nobody asked for."""
    asked = {call.key for call in evidence.calls if call.kind == "place"}
    for side, orders in ((LEGACY, evidence.shop), (EXTRACTED, evidence.own)):
        for note, count in Counter(row["note"] for row in orders.values()).items():
            if count > 1:
                yield f"{count} orders at {side} for the key {note}"
            if note not in asked:
                yield f"an order at {side} with note {note!r}, which nobody placed"
    answers = defaultdict(set)
    for call in evidence.calls:
        if call.kind == "place" and call.status == 201:
            answers[call.key].add(call.document["id"])
    yield from (f"key {key} was answered with the orders {sorted(ids)}" for key, ids in answers.items() if len(ids) > 1)
    for kind, rows in (("charge", evidence.charges), ("refund", evidence.refunds)):
        booked = Counter(row["reference"] for row in rows if row["status"] == "succeeded")
        yield from (f"{count} {kind}s were booked for order {ref}" for ref, count in booked.items() if count > 1)


def money(evidence: Evidence) -> Iterator[str]:
    """Find where the provider's ledger and the orders' owners disagree."""
    owned = list(_owned_rows(evidence))
    for kind, rows in (("charge", evidence.charges), ("refund", evidence.refunds)):
        booked = {_hex(row["key"]): (row["reference"], row["status"], int(row["amount_minor"])) for row in rows}
        known = {
            one["provider_key"]: (row["number"], one["state"], one["amount"])
            for row in owned
            for one in row["attempts"].values()
            if one["kind"] == kind
        }
        for key in sorted(booked.keys() | known.keys()):
            if booked.get(key) != known.get(key):
                yield f"{kind} {key} is {booked.get(key)} at the provider, {known.get(key)} at the order's owner"
    for row in owned:
        moved = sorted(one["kind"] for one in row["attempts"].values() if one["state"] == "succeeded")
        right = ([], ["charge", "refund"]) if row["status"] in DEAD else _alive(row["status"])
        if moved not in right:
            yield f"order {row['id']} is {row['status']}, and the money that moved is {moved}"


def _alive(status: str) -> tuple[list[str], ...]:
    return ([],) if status == "pending" else (["charge"],)


def pieces(evidence: Evidence) -> Iterator[str]:
    """Find pieces that are neither on the shelf nor in an order that stands."""
    ordered: Counter[int] = Counter()
    for row in _owned_rows(evidence):
        if row["status"] not in DEAD:
            for line in row["lines"].values():
                ordered[line["product_id"]] += line["quantity"]
    for product, delivered in evidence.delivered.items():
        there = evidence.on_hand[product] + ordered[product]
        if there != delivered:
            yield (
                f"of product {product} {delivered} pieces were delivered, {evidence.on_hand[product]} are on hand and "
                f"{ordered[product]} ordered: {there - delivered:+d}"
            )


# --- what customers saw ------------------------------------------------------------------------------------------
def reads(evidence: Evidence) -> Iterator[str]:
    """Find answers that are behind what the same customer was told before, and do not say that they may be."""
    for behind in behind_reads(evidence.calls):
        if not behind.said:
            yield behind.told


def said_stale(evidence: Evidence) -> int:
    """Return how many answers were behind, and said so."""
    return sum(behind.said for behind in behind_reads(evidence.calls))


@dataclass(frozen=True, kw_only=True)
class Behind:
    """An answer that contradicts what was told before."""

    told: str
    said: bool
    """Whether it was marked stale."""


def behind_reads(calls: Iterable[Call]) -> Iterator[Behind]:
    """Go through what each customer was told, in its order, and find what contradicts what came before."""
    by_customer: dict[int, list[Call]] = defaultdict(list)
    for call in calls:
        by_customer[call.customer].append(call)
    for mine in by_customer.values():
        yield from _Reader().read(sorted(mine, key=lambda one: one.began))


class _Reader:
    """One customer's knowledge, as it grows."""

    def __init__(self) -> None:
        self.known: dict[int, Document] = {}
        self.since: dict[int, Call] = {}
        """Which answer each of them is from."""
        self.doubtful: set[int] = set()
        """Orders with a write that was never answered: what they are is not known."""

    def read(self, calls: Iterable[Call]) -> Iterator[Behind]:
        for call in calls:
            if call.kind in ("show", "list"):
                for told in self._seen(call):
                    yield Behind(told=told, said=call.stale)
            else:
                yield from (Behind(told=told, said=False) for told in self._written(call))

    def _seen(self, call: Call) -> Iterator[str]:
        if call.kind == "show":
            if call.status == 404 and call.order in self.known:
                yield f"{call}: not there, after {self.since[call.order]}"
            elif call.status == 200:
                yield from self._compare(call, call.document)
        elif call.status == 200:
            shown = {int(one["id"]) for one in call.document["results"]}
            newest = list(self.known)[-10:]
            yield from (
                f"{call}: does not show order {one}, after {self.since[one]}" for one in newest if one not in shown
            )
            for document in call.document["results"]:
                yield from self._compare(call, document)

    def _compare(self, call: Call, seen: Document) -> Iterator[str]:
        order = int(seen["id"])
        if order in self.doubtful:
            return
        if order in self.known:
            found = differences(self.known[order], seen)
            if found:
                yield f"{call}: order {order} {'; '.join(found)}, after {self.since[order]}"
                return
        self._learn(order, seen, call)

    def _written(self, call: Call) -> Iterator[str]:
        if call.status == 0 or call.status >= 500:
            if call.order is not None:
                self.doubtful.add(call.order)
            return
        if call.kind == "place":
            order = int(call.document["id"]) if call.status == 201 else None
            if order is not None and order not in self.known:  # else a stored answer, from then
                self._learn(order, call.document, call)
            return
        assert call.order is not None
        if call.status == 200 and call.order not in self.doubtful:
            yield from self._changed(call)
        elif call.status == 402 and call.order in self.known:
            self.known[call.order] = {**self.known[call.order], "payment": "failed"}
            self.since[call.order] = call
        elif call.status == 404:
            yield f"{call}: not there, after {self.since.get(call.order)}"

    def _changed(self, call: Call) -> Iterator[str]:
        order = int(call.document["id"])
        before = self.known.get(order)
        may = CHANGES[call.kind] | SETTLING
        wrong = [
            f"{name}: told {before[name]!r}, now {call.document[name]!r}"
            for name in before or ()
            if before is not None and name not in may and before[name] != call.document[name]
        ]
        if wrong:
            yield f"{call}: order {order} {'; '.join(wrong)}, after {self.since[order]}"
        self._learn(order, call.document, call)

    def _learn(self, order: int, document: Document, call: Call) -> None:
        self.known[order] = document
        self.since[order] = call


def answers(evidence: Evidence) -> Iterator[str]:
    """Find what had no right answer in time, though the customer asked again and again."""
    spans = [(one.began, one.ended + RECOVERY) for one in evidence.troubles]
    cancelled = {call.order for call in evidence.calls if call.kind == "cancel"}
    paying = _touched(evidence.calls)
    for call in evidence.calls:
        lasted = call.ended - call.began - covered(spans, call.began, call.ended)
        if call.status == 0 or call.status >= 500 or (call.status == 409 and call.code not in REFUSALS.values()):
            yield f"{call}: no right answer ({call.document})"
        elif call.status not in GOOD[call.kind] and not _rightly_refused(call, cancelled, paying):
            yield f"{call}: a wrong answer ({call.document})"
        elif lasted > PATIENCE + SLACK:
            yield f"{call}: {lasted:.1f} s, what was broken meanwhile left out"


def crashes(evidence: Evidence) -> Iterator[str]:
    """Find answers 500 and above, other than 503, while nothing was broken."""
    spans = [(one.began, one.ended + RECOVERY) for one in evidence.troubles]
    for call in evidence.calls:
        for status, at in zip(call.tries, call.tried_at, strict=True):
            if status >= 500 and status != 503 and not any(began <= at <= ended for began, ended in spans):
                yield f"{call}: answered {status} at {at:.2f} while nothing was broken"


def _touched(calls: Iterable[Call]) -> set[int | None]:
    """Return orders that were paid, or are about to be."""
    placed = {
        int(call.document["id"])
        for call in calls
        if call.kind == "place" and call.status == 201 and call.sent["payment"]
    }
    return placed | {call.order for call in calls if call.kind == "pay"}


def _rightly_refused(call: Call, cancelled: set[int | None], paying: set[int | None]) -> bool:
    """Whether there is a reason for the refusal; that it was given at the right time is ``reads``'s to judge."""
    if call.kind == "show":
        return call.status == 404  # whether the order has to be there, `reads` knows
    if call.status != 409 or call.code != REFUSALS.get(call.kind):
        return False
    return call.order in cancelled or (call.kind == "pay" and call.order in paying)


# --- where things stand ------------------------------------------------------------------------------------------
def ownership(evidence: Evidence) -> Iterator[str]:
    """Find buckets that have not exactly one owner, with the other side as its replica, no newer than it."""
    for bucket in range(100):
        states = {side: known.get(bucket) for side, known in evidence.owners.items()}
        said = sorted(one[0] if one else "nothing" for one in states.values())
        if said != ["owner", "replica"]:
            yield f"bucket {bucket}: {states}"
            continue
        epochs = {one[0]: one[1] for one in states.values() if one}
        if epochs["replica"] > epochs["owner"]:
            yield f"bucket {bucket}: the replica's epoch is above the owner's: {states}"


def equality(evidence: Evidence) -> Iterator[str]:
    """Find orders that are not the same on both sides, by rows and by the toolkit's own word."""
    for order in sorted(evidence.shop.keys() | evidence.own.keys()):
        here, there = evidence.shop.get(order), evidence.own.get(order)
        if here is None or there is None:
            yield f"order {order} is only at {EXTRACTED if here is None else LEGACY}"
        elif here != there:
            names = [name for name in here if here[name] != there.get(name)]
            yield f"order {order} differs: " + ", ".join(f"{one} {here[one]!r}/{there.get(one)!r}" for one in names)
    if evidence.verified:
        yield f"sync verify: {evidence.verified}"


def leftovers(evidence: Evidence) -> Iterator[str]:
    """Find work that was begun and not ended."""
    yield from (f"{count} marks at {side} were never settled" for side, count in evidence.marked.items() if count)
    yield from (f"{count} documents were refused at {side}" for side, count in evidence.parked.items() if count)
    yield from (f"{count} keys at {side} are claimed for ever" for side, count in evidence.claimed.items() if count)
    if evidence.sagas:
        yield f"{evidence.sagas} sagas have not ended"
    if evidence.reservations:
        yield f"{evidence.reservations} reservations hold pieces for nobody"
    for row in _owned_rows(evidence):
        for one in row["attempts"].values():
            if one["state"] == "open" or (_moved(one, "charge") and one["told_at"] is None):
                yield f"order {row['id']}: {one['kind']} {one['provider_key']} is {one['state']}, not told or not ended"


CHECKS: dict[str, Callable[[Evidence], Iterator[str]]] = {
    "no acknowledged write is lost": lost,
    "nothing is there twice": twice,
    "the provider booked what the orders say": money,
    "every piece is on the shelf or in an order": pieces,
    "customers read what they wrote, and never go back": reads,
    "every request was answered rightly in time": answers,
    "nothing crashed unless it was broken": crashes,
    "each bucket has one owner": ownership,
    "both sides are equal": equality,
    "nothing is left unfinished": leftovers,
}


def judge(evidence: Evidence) -> dict[str, list[str]]:
    """Return what is wrong, by check; all checks are there."""
    return {name: list(check(evidence)) for name, check in CHECKS.items()}


def _truth(evidence: Evidence, customer: int) -> Mapping[int, Row]:
    """Return the orders of the side that owns a customer's bucket."""
    bucket = evidence.buckets[customer]
    state = evidence.owners.get(EXTRACTED, {}).get(bucket, ("replica", 0))[0]
    return evidence.own if state == "owner" else evidence.shop


def _owned_rows(evidence: Evidence) -> Iterator[Row]:
    """Yield each order as its owner has it."""
    for orders in (evidence.shop, evidence.own):
        for row in orders.values():
            if row["customer"] in evidence.buckets and _truth(evidence, row["customer"]) is orders:
                yield row


def _moved(attempt: Row, kind: str) -> bool:
    return attempt["kind"] == kind and attempt["state"] == "succeeded"


def _hex(key: str) -> str:
    return key.replace("-", "")
