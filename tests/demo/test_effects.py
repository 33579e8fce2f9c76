"""Mails and points: each thing that can go wrong with them is planted once in sound evidence, and found."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from demo.effects import (
    EffectFloors,
    Effects,
    Outage,
    Troubles,
    due_mails,
    due_points,
    duplicated,
    lost,
    mismatched,
    too_thin,
    unfinished,
)
from demo.event_tables import EventTally
from demo.mails import Mail
from demo.tables import Fate, Points


def fate(order_id: int, status: str, *, paid: bool = False, total: str = "12.90", customer: int = 7) -> Fate:
    return Fate(
        order_id=order_id,
        number=f"N{order_id}",
        customer_id=customer,
        email=f"c{customer}@example.com",
        status=status,
        total=Decimal(total),
        paid=paid,
    )


def mail(order_id: int, kind: str, customer: int = 7) -> Mail:
    return Mail(order=f"N{order_id}", kind=kind, to=f"c{customer}@example.com")


def points(order_id: int, amount: int, customer: int = 7) -> Points:
    return Points(order_id=order_id, customer_id=customer, points=amount)


@pytest.mark.parametrize(
    ("order", "mails", "bookings"),
    [
        (fate(1, "pending"), ["placed"], []),
        (fate(1, "paid", paid=True), ["placed", "paid"], [12]),
        (fate(1, "shipped", paid=True), ["placed", "paid"], [12]),
        (fate(1, "cancelled"), ["placed", "cancelled"], []),
        (fate(1, "cancelled", paid=True), ["placed", "paid", "cancelled"], [12, -12]),
        (fate(1, "expired"), ["placed"], []),
        (fate(1, "paid", paid=True, total="0.90"), ["placed", "paid"], []),
    ],
)
def test_what_is_due(order: Fate, mails: list[str], bookings: list[int]) -> None:
    assert sorted(due_mails(order).elements()) == sorted(mails)
    assert sorted(due_points(order).elements()) == sorted(bookings)


@pytest.fixture
def sound() -> Effects:
    return Effects(
        fates=(fate(1, "paid", paid=True), fate(2, "cancelled", paid=True), fate(3, "expired"), fate(4, "pending")),
        mails=(
            *(mail(order_id, "placed") for order_id in (1, 2, 3, 4)),
            *(mail(order_id, "paid") for order_id in (1, 2)),
            mail(2, "cancelled"),
        ),
        points=(points(1, 12), points(2, 12), points(2, -12)),
        balances={7: 12},
        events=EventTally(published=7, received=7),
    )


FINDERS: dict[str, Callable[[Effects], list[str]]] = {
    "lost": lost,
    "duplicated": duplicated,
    "mismatched": mismatched,
    "unfinished": unfinished,
}


def found(effects: Effects) -> dict[str, list[str]]:
    return {name: problems for name, find in FINDERS.items() if (problems := find(effects))}


def test_sound_effects_hold(sound: Effects) -> None:
    assert found(sound) == {}


def test_dropped_second_delivery_is_no_fault(sound: Effects) -> None:
    assert found(replace(sound, suppressed=3)) == {}


def without_mail(order_id: int, kind: str) -> Callable[[Effects], Effects]:
    return lambda e: replace(e, mails=[m for m in e.mails if m != mail(order_id, kind)])


def with_mail(extra: Mail) -> Callable[[Effects], Effects]:
    return lambda e: replace(e, mails=(*e.mails, extra))


def with_points(extra: Points) -> Callable[[Effects], Effects]:
    return lambda e: replace(e, points=(*e.points, extra), balances={7: 12 + extra.points})


def cancelled_after_the_mails(e: Effects) -> Effects:
    return replace(e, fates=(fate(1, "cancelled", paid=True), *e.fates[1:]))


@pytest.mark.parametrize(
    ("plant", "finders"),
    [
        (without_mail(1, "placed"), ["lost"]),
        (without_mail(2, "paid"), ["lost"]),
        (without_mail(2, "cancelled"), ["lost"]),
        (lambda e: replace(e, points=e.points[1:], balances={}), ["lost"]),
        (lambda e: replace(e, points=e.points[:2], balances={7: 24}), ["lost"]),
        (cancelled_after_the_mails, ["lost"]),
        (with_mail(mail(1, "placed")), ["duplicated"]),
        (with_mail(mail(2, "cancelled")), ["duplicated"]),
        (with_points(points(1, 12)), ["duplicated"]),
        (with_points(points(2, -12)), ["duplicated"]),
        (with_mail(mail(4, "paid")), ["mismatched"]),
        (with_mail(mail(3, "cancelled")), ["mismatched"]),
        (with_mail(mail(9, "placed")), ["mismatched"]),
        (with_mail(mail(1, "advertisement")), ["mismatched"]),
        (lambda e: replace(e, mails=(*e.mails[:-1], mail(2, "cancelled", customer=8))), ["mismatched"]),
        (with_points(points(1, 13)), ["mismatched"]),
        (with_points(points(4, 12)), ["mismatched"]),
        (with_points(points(9, 12)), ["mismatched"]),
        (
            lambda e: replace(e, points=(points(1, 12, customer=8), *e.points[1:]), balances={8: 12}),
            ["mismatched"],
        ),
        (lambda e: replace(e, balances={7: 13}), ["mismatched"]),
        (lambda e: replace(e, balances={}), ["mismatched"]),
        (lambda e: replace(e, balances={7: 12, 8: 1}), ["mismatched"]),
        (lambda e: replace(e, events=EventTally(undelivered=("placed of 1",))), ["unfinished"]),
        (lambda e: replace(e, events=EventTally(unhandled=("mail of 1",))), ["unfinished"]),
        (lambda e: replace(e, events=EventTally(parked=("mail of 1",))), ["unfinished"]),
    ],
)
def test_planted_fault_is_found_as_what_it_is(
    sound: Effects, plant: Callable[[Effects], Effects], finders: list[str]
) -> None:
    assert list(found(plant(sound))) == finders


def test_customer_without_address_is_a_fault(sound: Effects) -> None:
    nobody = replace(sound.fates[3], email="")
    mails = [replace(m, to="") if m.order == "N4" else m for m in sound.mails]
    assert list(found(replace(sound, fates=(*sound.fates[:3], nobody), mails=mails))) == ["mismatched"]


@pytest.fixture
def enough(sound: Effects) -> tuple[Effects, EffectFloors]:
    troubles = Troubles(copied=1, held=1, lost=1, outages=(Outage(seconds=6.2, orders=5),))
    events = EventTally(duplicates=10, late=10)
    plenty = replace(sound, served={"N1"}, pages={"extracted": 5}, events=events, troubles=troubles)
    return plenty, EffectFloors(mails=7, bookings=3, mails_of_service=2)


@pytest.mark.parametrize(
    "thin",
    [
        {},
        {"mails": ()},
        {"points": ()},
        {"served": ()},
        {"pages": {"legacy": 900}},
        {"events": EventTally(late=10)},
        {"events": EventTally(duplicates=10)},
        {"troubles": Troubles(outages=(Outage(seconds=6.2, orders=5),))},
        {"troubles": Troubles(lost=1, outages=(Outage(seconds=4.9, orders=5),))},
        {"troubles": Troubles(lost=1, outages=(Outage(seconds=6.2, orders=4), Outage(seconds=1.0, orders=9)))},
    ],
)
def test_floors(enough: tuple[Effects, EffectFloors], thin: dict[str, Any]) -> None:
    effects, floors = enough
    missing = {"mails": 2, "troubles": 1}.get(next(iter(thin), ""), 1) if thin else 0
    assert len(too_thin(replace(effects, **thin), floors)) == missing


def test_no_outage_at_all_is_too_thin(enough: tuple[Effects, EffectFloors]) -> None:
    effects, floors = enough
    assert "only 0.0 seconds without a broker, 5.0 are needed" in too_thin(
        replace(effects, troubles=Troubles(lost=1)), floors
    )
