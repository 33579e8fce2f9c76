"""The judge of chaos finds what is wrong: a small story in which all is well, and every violation planted in it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.acceptance.chaos import schedule
from tests.acceptance.chaos.history import Call, History, Trouble, covered
from tests.acceptance.chaos.judge import CHECKS, Evidence, judge, said_stale

pytestmark = [pytest.mark.acceptance, pytest.mark.any_database]

ANN, BUCKET, ORDER = 7, 42, 1001
KEY, CHARGE, REFUND = "place-1", "a" * 32, "b" * 32
ADDRESS = {"name": "A", "street": "First", "city": "C", "postcode": "1", "country": "US"}
OWNERS = {
    "legacy": dict.fromkeys(range(100), ("replica", 3)),
    "extracted": dict.fromkeys(range(100), ("owner", 3)),
}


def document(**changes: Any) -> dict[str, Any]:
    """Return the order as the shop shows it."""
    return {
        "id": ORDER,
        "number": "N1",
        "status": "pending",
        "payment": "none",
        "currency": "USD",
        "total": "19.98",
        "note": KEY,
        "placed_at": "2026-03-01T12:00:00Z",
        "paid_at": None,
        "closed_at": None,
        "ship_to": ADDRESS,
        "lines": [{"product": 5, "quantity": 2, "unit_price": "9.99", "amount": "19.98"}],
        **changes,
    }


PAID = {"status": "paid", "payment": "paid", "paid_at": "2026-03-01T12:01:00Z"}
MOVED = {"ship_to": {**ADDRESS, "street": "Second"}}
CANCELLED = {**PAID, **MOVED, "status": "cancelled", "payment": "refunded", "closed_at": "2026-03-01T12:02:00Z"}


def call(kind: str, began: float, shown: Any, status: int = 200, **fields: Any) -> Call:
    """Return an answer that took half a second."""
    given = {"customer": ANN, "key": "" if kind in ("show", "list") else f"{kind}-1", "side": "extracted"}
    about = None if kind in ("place", "list") else ORDER
    given |= {"order": about, "began": began, "ended": began + 0.5, "tries": (status,), "tried_at": (began + 0.5,)}
    return Call(**{**given, "kind": kind, "status": status, "document": shown, **fields})


SENT = {"lines": [{"product": 5, "quantity": 2}], "address": ADDRESS, "note": KEY, "payment": None}
STORY = (
    call("place", 1, document(), 201, sent=SENT),
    call("show", 2, document()),
    call("pay", 3, document(**PAID), sent={"card": "tok_visa"}),
    call("address", 4, document(**PAID, **MOVED), sent={**ADDRESS, "street": "Second"}),
    call("list", 5, {"results": [document(**PAID, **MOVED)]}),
    call("cancel", 6, document(**CANCELLED)),
    call("show", 7, document(**CANCELLED)),
    call("pay", 8, {"code": "not_payable"}, 409, key="pay-2"),
    call("place", 9, document(), 201, sent=SENT),
)
"""A customer orders, pays, moves house, cancels, and sends the order once more."""


def attempt(kind: str, key: str, **changes: Any) -> dict[str, Any]:
    """Return an attempt of the order's owner."""
    return {"kind": kind, "state": "succeeded", "provider_key": key, "amount": 1998, "told_at": "then", **changes}


def row(**changes: Any) -> dict[str, Any]:
    """Return the order as it is in a database."""
    line = {"id": 1, "product_id": 5, "quantity": 2}
    return {
        "id": ORDER,
        "number": "N1",
        "customer": ANN,
        "status": "cancelled",
        "street": "Second",
        "note": KEY,
        "lines": {1: line},
        "attempts": {1: attempt("charge", CHARGE), 2: attempt("refund", REFUND, told_at=None)},
        **changes,
    }


def booked(key: str, **changes: Any) -> dict[str, Any]:
    """Return a movement of the provider's."""
    return {"key": key, "reference": "N1", "status": "succeeded", "amount_minor": 1998, **changes}


WELL = Evidence(
    calls=STORY,
    shop={ORDER: row()},
    own={ORDER: row()},
    buckets={ANN: BUCKET},
    owners=OWNERS,
    charges=[booked(CHARGE)],
    refunds=[booked(REFUND)],
    delivered={5: 10},
    on_hand={5: 10},
    marked={"legacy": 0, "extracted": 0},
    parked={"legacy": 0, "extracted": 0},
)


def told(at: int, **changes: Any) -> Callable[[Evidence], Evidence]:
    """Return what changes one answer of the story."""

    def plant(well: Evidence) -> Evidence:
        calls = list(well.calls)
        calls[at] = replace(calls[at], **changes)
        return replace(well, calls=calls)

    return plant


def also(*calls: Call) -> Callable[[Evidence], Evidence]:
    """Return what adds answers to the story."""
    return lambda well: replace(well, calls=(*well.calls, *calls))


def holds(**changes: Any) -> Callable[[Evidence], Evidence]:
    """Return what changes the order in both databases."""
    return lambda well: replace(well, shop={ORDER: row(**changes)}, own={ORDER: row(**changes)})


def but(**fields: Any) -> Callable[[Evidence], Evidence]:
    """Return what changes the evidence."""
    return lambda well: replace(well, **fields)


def owned(side: str, state: tuple[str, int]) -> Callable[[Evidence], Evidence]:
    """Return what changes who a side is to the customer's bucket."""
    return lambda well: replace(well, owners={**OWNERS, side: {**OWNERS[side], BUCKET: state}})


LATE = {"ended": 30.0, "tried_at": (30.0,)}
PLANTED: dict[str, tuple[str, Callable[[Evidence], Evidence]]] = {
    "an order that is gone": ("lost", but(shop={}, own={}, charges=[], refunds=[])),
    "an order that its owner alone has lost": ("lost", but(own={})),
    "an order of somebody else": ("lost", holds(customer=8)),
    "other lines": ("lost", holds(lines={1: {"id": 1, "product_id": 5, "quantity": 1}})),
    "the street of before": ("lost", holds(street="First")),
    "a cancellation that is undone": ("lost", holds(status="paid", attempts={1: attempt("charge", CHARGE)})),
    "a charge that is forgotten": ("lost", holds(attempts={})),
    "two orders for a key": ("twice", but(own={ORDER: row(), 1002: row(id=1002, number="N2", attempts={})})),
    "an order that nobody placed": ("twice", but(shop={ORDER: row(), 1002: row(id=1002, note="?", attempts={})})),
    "two answers for a key": ("twice", told(8, document=document(id=1002))),
    "two charges": ("twice", but(charges=[booked(CHARGE), booked("c" * 32)])),
    "two refunds": ("twice", but(refunds=[booked(REFUND), booked("c" * 32)])),
    "a charge that no order knows": ("money", but(charges=[booked(CHARGE), booked("c" * 32, reference="N9")])),
    "a charge that the provider does not know": ("money", but(charges=[])),
    "another amount": ("money", but(charges=[booked(CHARGE, amount_minor=1)])),
    "declined, and taken for paid": ("money", but(charges=[booked(CHARGE, status="failed")])),
    "cancelled, and the money kept": ("money", holds(attempts={1: attempt("charge", CHARGE)})),
    "paid without a charge": ("money", holds(status="paid", attempts={})),
    "pieces too few": ("pieces", but(on_hand={5: 9})),
    "pieces too many": ("pieces", but(on_hand={5: 12})),
    "an order that is not shown": ("reads", told(1, status=404)),
    "an order that is not listed": ("reads", told(4, document={"results": []})),
    "an address of before": ("reads", told(4, document={"results": [document(**PAID)]})),
    "a cancellation not seen": ("reads", told(6, document=document(**PAID, **MOVED))),
    "going back after having seen": (
        "reads",
        also(call("show", 10, document(**CANCELLED)), call("show", 11, document(**CANCELLED, note="other"))),
    ),
    "a write upon what was before": ("reads", told(5, document=document(**{**CANCELLED, "ship_to": ADDRESS}))),
    "no answer": ("answers", told(2, status=0, document=None)),
    "asked to come back to the end": ("answers", told(2, status=503, document=None)),
    "in flight to the end": ("answers", told(2, status=409, document={"code": "in_flight"})),
    "an answer that comes late": ("answers", told(8, **LATE)),
    "a refusal without a reason": ("answers", also(call("address", 12, {"code": "not_found"}, 400))),
    "a crash": ("crashes", told(8, tries=(500, 201), tried_at=(9.1, 9.5))),
    "two owners": ("ownership", owned("legacy", ("owner", 3))),
    "no owner": ("ownership", owned("extracted", ("frozen", 4))),
    "two replicas": ("ownership", owned("extracted", ("replica", 3))),
    "a replica that is ahead": ("ownership", owned("legacy", ("replica", 4))),
    "a bucket that nobody knows": ("ownership", but(owners={"legacy": OWNERS["legacy"], "extracted": {}})),
    "different rows": ("equality", but(shop={ORDER: row(street="Other")})),
    "only at the service": ("equality", but(shop={})),
    "what sync itself finds": ("equality", but(verified="1 of 1 differ")),
    "a mark": ("leftovers", but(marked={"extracted": 1})),
    "a refused document": ("leftovers", but(parked={"legacy": 1})),
    "a saga": ("leftovers", but(sagas=1)),
    "a reservation": ("leftovers", but(reservations=1)),
    "an open attempt": ("leftovers", holds(attempts={1: attempt("charge", CHARGE, state="open")})),
    "an order that was not told": ("leftovers", holds(attempts={1: attempt("charge", CHARGE, told_at=None)})),
}


def broken(evidence: Evidence) -> set[str]:
    """Return the checks that did not hold, by the names of their functions."""
    wrong = judge(evidence)
    return {CHECKS[name].__name__ for name, problems in wrong.items() if problems}


def test_all_is_well() -> None:
    assert {name: problems for name, problems in judge(WELL).items() if problems} == {}


@pytest.mark.parametrize("name", PLANTED)
def test_it_finds(name: str) -> None:
    check, plant = PLANTED[name]
    assert check in broken(plant(WELL))


def test_every_check_can_fail() -> None:
    assert {check for check, _ in PLANTED.values()} == {check.__name__ for check in CHECKS.values()}


ALLOWED: dict[str, Callable[[Evidence], Evidence]] = {
    "behind, and says so": told(6, document=document(**PAID, **MOVED), stale=True),
    "not there yet, and says so": told(1, status=404, stale=True),
    "slow while something was broken": lambda well: replace(
        told(8, **LATE)(well), troubles=[Trouble(what="kill shop", began=10.0, ended=25.0)]
    ),
    "a crash of what was broken": lambda well: replace(
        told(8, tries=(500, 201), tried_at=(9.1, 9.5))(well), troubles=[Trouble(what="cut", began=9.0, ended=9.05)]
    ),
    "settled meanwhile": told(1, document=document(payment="none")),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_it_does_not_mind(name: str) -> None:
    assert broken(ALLOWED[name](WELL)) == set()


def test_what_was_behind_and_said_so_is_counted() -> None:
    assert said_stale(ALLOWED["behind, and says so"](WELL)) == 1
    assert said_stale(WELL) == 0


def test_a_write_that_was_never_answered_may_have_happened_or_not() -> None:
    """That it was not answered is a fault of its own; the order is not judged by it."""
    lost = told(5, status=0, document=None)
    for after in (document(**CANCELLED), document(**PAID, **MOVED)):
        assert "reads" not in broken(replace(lost(WELL), calls=(*lost(WELL).calls[:6], call("show", 7, after))))
    assert "lost" not in broken(holds(status="paid", attempts={1: attempt("charge", CHARGE)})(lost(WELL)))


def test_seconds_of_trouble_count_once() -> None:
    assert covered([(1, 3), (2, 4), (6, 9)], 0, 7) == 4
    assert covered([], 0, 7) == 0
    history = History()
    with history.trouble("outer"), history.trouble("inner"):
        assert history.troubled_since(0) <= history.now()
    assert {one.what for one in history.troubles} == {"outer", "inner"}


class TestSchedule:
    def test_is_made_of_the_seed(self) -> None:
        first, again, other = (schedule.strikes(seed, 60, postgres=True, broker=True) for seed in (1, 1, 2))
        assert first == again != other
        assert [leg for leg, _ in zip(schedule.legs(1), range(9), strict=False)] == [
            leg for leg, _ in zip(schedule.legs(1), range(9), strict=False)
        ]

    def test_holds_everything_that_can_break(self) -> None:
        found = {(one.do, one.whom) for one in schedule.strikes(1, 90, postgres=True, broker=True)}
        assert {do for do, _ in found} == {"kill", "freeze", "cut", "unplug", "restart", "forget", "coordinator"}
        assert {whom for do, whom in found if do == "kill"} == {*schedule.SERVERS, "worker"}
        plain = {(one.do, one.whom) for one in schedule.strikes(1, 90, postgres=False, broker=False)}
        assert {do for do, _ in plain} == {"kill", "freeze", "coordinator"}
        assert {whom for do, whom in plain if do == "kill"} == {*schedule.SERVERS, "relay", "chores"}

    def test_goes_all_the_way_there_and_all_the_way_back(self) -> None:
        owned: set[int] = set()
        whole = []
        for leg, _ in zip(schedule.legs(3), range(20), strict=False):
            stretch = set(range(leg.first, leg.end))
            owned = owned | stretch if leg.to == "extracted" else owned - stretch
            whole.append(len(owned))
        assert (whole.count(100), whole.count(0)) == (4, 4)
        assert all(percent in range(0, 101, 10) for percent in whole)
