"""Each thing that can go wrong is planted once in sound evidence; the check it belongs to has to find it."""

from collections.abc import Callable
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest

from demo.checks import (
    RULES,
    Booking,
    Check,
    Evidence,
    Floors,
    duplicated_altogether,
    lost,
    lost_altogether,
    mismatched_altogether,
    run_all,
    too_thin,
)
from demo.documents import Document
from demo.effects import EffectFloors, Effects
from demo.event_tables import EventTally
from demo.homes import ONLY_OWN, ONLY_SHOP
from demo.mails import Mail
from demo.sync_checks import Corruption, SyncFloors
from demo.tables import Attempt, Fate
from tests.demo.test_sync_checks import PLANTED, sound_homes

PAID = "demo-1-1"
CANCELLED = "demo-1-2"
OPEN = "demo-2-1"


FATE = Fate(
    order_id=3, number="N3", customer_id=2, email="b@x.org", status="pending", total=Decimal("12.34"), paid=False
)
MAIL = Mail(order="N3", kind="placed", to="b@x.org")


def order(order_id: int, reference: str, status: str, payment: str) -> Document:
    return {
        "id": order_id,
        "number": f"N{order_id}",
        "status": status,
        "payment": payment,
        "currency": "USD",
        "total": "12.34",
        "note": reference,
        "placed_at": "2026-01-02T03:04:05.678901Z",
        "paid_at": None,
        "closed_at": None,
        "ship_to": {"name": "A", "street": "1 Fig Lane", "city": "Hillview", "postcode": "12345", "country": "US"},
        "lines": [
            {"product": 1, "sku": "S", "name": "P", "quantity": 1, "unit_price": "12.34", "amount": "12.34"},
        ],
    }


def charge(key: str, order_id: int, state: str = "succeeded", kind: str = "charge") -> Attempt:
    return Attempt(key=key, order_id=order_id, order_number=f"N{order_id}", kind=kind, state=state, minor=1234)


def booked(key: str, order_id: int, kind: str = "charge", **changes: Any) -> Booking:
    booking = Booking(key=key, kind=kind, status="succeeded", minor=1234, reference=f"N{order_id}")
    return replace(booking, **changes)


@pytest.fixture
def sound() -> Evidence:
    orders = {
        PAID: order(1, PAID, "paid", "paid"),
        CANCELLED: order(2, CANCELLED, "cancelled", "refunded"),
        OPEN: order(3, OPEN, "pending", "none"),
    }
    return Evidence(
        requests=2000,
        failures=(),
        read_backs_wrong=(),
        acknowledged=orders,
        asked=set(orders),
        doubtful=set(),
        found={reference: (document,) for reference, document in orders.items()},
        attempts=(charge("c1", 1), charge("c2", 2), charge("r2", 2, kind="refund")),
        bookings=(booked("c1", 1), booked("c2", 2), booked("r2", 2, kind="refund")),
        stock_before={1: 100},
        stock_after={1: 100},
        overdue_claims=(),
        comparisons=500,
        shadow_mismatches=0,
        breakers_opened=1,
        breakers_closed=1,
        ambiguous=1,
        fallbacks=1,
        effects=Effects(fates=(FATE,), mails=(MAIL,), points=(), balances={}, events=EventTally()),
        synced=sound_homes(),
    )


NO_FLOORS = EffectFloors(**dict.fromkeys((field.name for field in fields(EffectFloors)), 0))
NO_SYNC = SyncFloors(**dict.fromkeys((field.name for field in fields(SyncFloors)), 0))
FLOORS = Floors(orders=3, effects=NO_FLOORS, synced=NO_SYNC)


def failed(evidence: Evidence) -> dict[str, Check]:
    return {check.name: check for check in run_all(evidence, FLOORS) if not check.held}


def test_sound_evidence_holds(sound: Evidence) -> None:
    assert failed(sound) == {}


def without_paid(evidence: Evidence) -> Evidence:
    found = {reference: orders for reference, orders in evidence.found.items() if reference != OPEN}
    return replace(evidence, found=found)


def twice(evidence: Evidence) -> Evidence:
    again = order(9, OPEN, "pending", "none")
    return replace(evidence, found={**evidence.found, OPEN: (*evidence.found[OPEN], again)})


def uninvited(evidence: Evidence) -> Evidence:
    return replace(evidence, found={**evidence.found, "demo-7-1": (order(9, "demo-7-1", "pending", "none"),)})


def other_address(evidence: Evidence) -> Evidence:
    moved = order(3, OPEN, "pending", "none")
    moved["ship_to"]["city"] = "Elsewhere"
    return replace(evidence, found={**evidence.found, OPEN: (moved,)})


def followed_by(**changes: Any) -> Callable[[Evidence], Evidence]:
    return lambda evidence: replace(evidence, effects=replace(evidence.effects, **changes))


def apart(**changes: Any) -> Callable[[Evidence], Evidence]:
    return lambda evidence: replace(
        evidence, synced=replace(evidence.synced, homes=replace(evidence.synced.homes, **changes))
    )


def unpaid_again(evidence: Evidence) -> Evidence:
    return replace(evidence, found={**evidence.found, PAID: (order(1, PAID, "pending", "none"),)})


@pytest.mark.parametrize(
    ("plant", "rule"),
    [
        (without_paid, "no acknowledged order is lost"),
        (twice, "no order is there twice"),
        (uninvited, "no order is there twice"),
        (other_address, "every order is as acknowledged"),
        (unpaid_again, "every order is as acknowledged"),
        (lambda e: replace(e, read_backs_wrong=("seen otherwise",)), "every order is as acknowledged"),
        (lambda e: replace(e, shadow_mismatches=1), "every order is as acknowledged"),
        (followed_by(mails=()), "no mail and no loyalty booking is missing"),
        (followed_by(mails=(MAIL, MAIL)), "no mail and no loyalty booking is there twice"),
        (followed_by(balances={2: 5}), "every mail and every booking is for what happened"),
        (followed_by(events=EventTally(unhandled=("mail",))), "every event was delivered and handled"),
        (lambda e: replace(e, failures=("late",)), "every request had a right answer within 10 s"),
        (lambda e: replace(e, act_problems=("wrong side",)), "every act ended as it should"),
        (lambda e: replace(e, attempts=(*e.attempts, charge("c3", 3, "open"))), "nothing is left unfinished"),
        (lambda e: replace(e, attempts=(replace(e.attempts[0], told=False),)), "nothing is left unfinished"),
        (lambda e: replace(e, overdue_claims=("orders/k",)), "nothing is left unfinished"),
        (lambda e: replace(e, bookings=(*e.bookings, booked("c9", 3))), "provider and shop agree on every payment"),
        (lambda e: replace(e, bookings=e.bookings[1:]), "provider and shop agree on every payment"),
        (
            lambda e: replace(e, bookings=(booked("c1", 1, minor=1), *e.bookings[1:])),
            "provider and shop agree on every payment",
        ),
        (lambda e: replace(e, bookings=(*e.bookings, booked("c8", 1))), "no order was charged twice"),
        (lambda e: replace(e, bookings=e.bookings[:2]), "no order was charged twice"),
        (lambda e: replace(e, stock_after={1: 99}), "no piece of stock appeared or vanished"),
        (lambda e: replace(e, stock_after={}), "no piece of stock appeared or vanished"),
        (apart(differences={7: ONLY_SHOP}), "both homes hold the same orders"),
        (
            lambda e: replace(e, synced=replace(e.synced, corruption=Corruption(planted=PLANTED))),
            "what was corrupted was found, nothing else was, and all is mended",
        ),
    ],
)
def test_planted_fault_is_found(sound: Evidence, plant: Callable[[Evidence], Evidence], rule: str) -> None:
    assert rule in failed(plant(sound))


@pytest.mark.parametrize(
    "thin",
    [
        {"requests": 1999},
        {"comparisons": 499},
        {"breakers_opened": 0},
        {"breakers_closed": 0},
        {"ambiguous": 0},
        {"fallbacks": 0},
        {"acknowledged": {}},
    ],
)
def test_thin_traffic_fails(sound: Evidence, thin: dict[str, Any]) -> None:
    assert len(too_thin(replace(sound, **thin), FLOORS)) == 1


def test_thin_effects_fail(sound: Evidence) -> None:
    floors = replace(FLOORS, effects=replace(NO_FLOORS, mails=2))
    assert too_thin(sound, floors) == ["only 1 mails, 2 are needed"]


def test_last_line_counts_what_followed_from_orders(sound: Evidence) -> None:
    assert [len(find(sound)) for find in (lost_altogether, duplicated_altogether, mismatched_altogether)] == [0, 0, 0]
    assert len(lost_altogether(followed_by(mails=())(sound))) == 1
    assert len(duplicated_altogether(followed_by(mails=(MAIL, MAIL))(sound))) == 1
    assert len(mismatched_altogether(followed_by(balances={2: 5})(sound))) == 1


def test_last_line_counts_what_is_not_the_same_in_both_homes(sound: Evidence) -> None:
    found = apart(differences={7: ONLY_SHOP, 8: ONLY_OWN, 9: "total is 1 in the shop and 2 at the service"})(sound)
    assert [len(find(found)) for find in (lost_altogether, duplicated_altogether, mismatched_altogether)] == [1, 1, 1]


def test_floors_are_those_the_demo_promises() -> None:
    assert Floors() == Floors(requests=2000, orders=200, comparisons=500, breakers_opened=1, breakers_closed=1)
    assert Floors().synced == SyncFloors(orders=500, delays=30, planted=6, shadowed=150, standstills=2, waited=5)
    assert (Floors().ambiguous, Floors().fallbacks) == (1, 1)
    assert Floors().effects == EffectFloors(mails=300, bookings=100, mails_of_service=50, pages_by_service=5)
    assert (Floors().effects.duplicates, Floors().effects.late, Floors().effects.messages_lost) == (10, 10, 1)
    assert (Floors().effects.outage_seconds, Floors().effects.orders_in_outage) == (5.0, 5)


def test_order_in_doubt_is_not_compared(sound: Evidence) -> None:
    assert failed(replace(other_address(sound), doubtful={OPEN})) == {}


def test_unanswered_order_may_be_there_or_not(sound: Evidence) -> None:
    asked = {*sound.asked, "demo-7-1"}
    assert failed(replace(sound, asked=asked)) == {}
    assert failed(replace(uninvited(sound), asked=asked)) == {}


def test_settled_payment_is_no_contradiction(sound: Evidence) -> None:
    waiting = {**order(1, PAID, "pending", "open")}
    paid = {**order(1, PAID, "paid", "paid"), "paid_at": "2026-01-02T03:05:00Z"}
    settled = replace(sound, acknowledged={**sound.acknowledged, PAID: waiting}, found={**sound.found, PAID: (paid,)})
    assert failed(settled) == {}


def test_lost_names_reference_and_order(sound: Evidence) -> None:
    assert lost(without_paid(sound)) == [f"{OPEN}: order 3 was acknowledged and is not in the database"]


def test_every_rule_has_a_planted_fault() -> None:
    marks = test_planted_fault_is_found.pytestmark  # type: ignore[attr-defined]
    assert {row[1] for row in marks[0].args[1]} == set(RULES)
