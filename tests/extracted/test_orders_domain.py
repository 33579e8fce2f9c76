"""The rules of ordering, without any table."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from extracted.orders.domain.errors import CurrencyMismatch, NotCancellable, NotChangeable, TooLarge
from extracted.orders.domain.money import Money, zero
from extracted.orders.domain.order import (
    Address,
    Attempt,
    AttemptKind,
    AttemptState,
    Line,
    Order,
    Payment,
    Status,
    payment_state,
    total,
)

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
HOME = Address(name="Ann", street="Street 1", city="Bern", postcode="3000", country="CH")
AWAY = Address(name="Ann", street="Street 2", city="Chur", postcode="7000", country="CH")
BEFORE_SHIPPING = (Status.PENDING, Status.PAID)
AFTER = (Status.SHIPPED, Status.COMPLETED, Status.CANCELLED, Status.EXPIRED)


def usd(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="USD")


def line(price: str, quantity: int) -> Line:
    return Line.priced(product=1, sku="S", name="N", quantity=quantity, unit_price=usd(price))


def attempt(kind: str, state: str, key: UUID | None = None) -> Attempt:
    return Attempt(kind=AttemptKind(kind), state=AttemptState(state), amount=usd("5.00"), provider_key=key or uuid4())


def order(status: Status = Status.PENDING, *attempts: Attempt, **fields: Any) -> Order:
    given: dict[str, Any] = {"id": 1, "number": "N1", "customer": 7, "ship_to": HOME, "total": usd("5.00"), **fields}
    return Order(status=status, placed_at=NOON, attempts=attempts, **given)


@pytest.mark.parametrize(("minor", "text"), [(0, "0.00"), (1, "0.01"), (1999, "19.99"), (-5, "-0.05")])
def test_money_in_cents(minor: int, text: str) -> None:
    money = Money.of_minor(minor, "USD")
    assert str(money) == text
    assert money.minor == minor
    assert money == usd(text)


def test_money_has_no_fractions_of_a_cent() -> None:
    assert str(usd("1.5")) == "1.50"
    assert usd("1.500") == usd("1.5")
    with pytest.raises(ValueError, match=r"1\.005 USD is not a whole number of cents"):
        usd("1.005")


def test_money_of_two_currencies_is_not_added() -> None:
    with pytest.raises(CurrencyMismatch, match="cannot be added"):
        usd("1.00") + zero("EUR")


def test_totals_are_exact() -> None:
    assert total([line("0.10", 3), line("19.99", 2)], "USD") == usd("40.28")
    assert total([], "USD") == zero("USD")


def test_a_total_that_fits_no_invoice() -> None:
    lines = [line("99999999.99", 99)]
    assert total(lines, "USD") == usd("9899999999.01")
    with pytest.raises(TooLarge):
        total([*lines, *lines], "USD")


@pytest.mark.parametrize("status", BEFORE_SHIPPING)
def test_what_can_change_before_shipping(status: Status) -> None:
    before = order(status)
    assert before.can_cancel
    assert before.can_change_address
    cancelled = before.cancelled(NOON)
    assert (cancelled.status, cancelled.closed_at) == (Status.CANCELLED, NOON)
    assert before.sent_to(AWAY).ship_to == AWAY
    assert before.ship_to == HOME


@pytest.mark.parametrize("status", AFTER)
def test_what_can_no_longer_change(status: Status) -> None:
    late = order(status)
    assert not late.can_cancel
    assert not late.can_change_address
    with pytest.raises(NotCancellable, match=f"Order N1 is {status.value} and can no longer be cancelled"):
        late.cancelled(NOON)
    with pytest.raises(NotChangeable, match=f"Order N1 is {status.value} and its address can no longer be changed"):
        late.sent_to(AWAY)


def test_every_status_is_on_one_side() -> None:
    assert {*BEFORE_SHIPPING, *AFTER} == set(Status)


@pytest.mark.parametrize(
    ("attempts", "payment"),
    [
        ((), Payment.NONE),
        ((("charge", "open"),), Payment.OPEN),
        ((("charge", "failed"),), Payment.FAILED),
        ((("charge", "failed"), ("charge", "open")), Payment.OPEN),
        ((("charge", "failed"), ("charge", "succeeded")), Payment.PAID),
        ((("charge", "succeeded"), ("refund", "open")), Payment.REFUNDING),
        ((("charge", "succeeded"), ("refund", "failed")), Payment.PAID),
        ((("charge", "succeeded"), ("refund", "failed"), ("refund", "succeeded")), Payment.REFUNDED),
    ],
)
def test_payment_states(attempts: tuple[tuple[str, str], ...], payment: Payment) -> None:
    assert payment_state([attempt(kind, state) for kind, state in attempts]) is payment


@pytest.mark.parametrize(
    ("attempts", "refundable"),
    [
        ((), None),
        ((("charge", "open"),), None),
        ((("charge", "failed"), ("charge", "succeeded")), 1),
        ((("charge", "succeeded"), ("refund", "failed")), 0),
        ((("charge", "succeeded"), ("refund", "open")), None),
        ((("charge", "succeeded"), ("refund", "succeeded")), None),
    ],
)
def test_money_goes_back_once(attempts: tuple[tuple[str, str], ...], refundable: int | None) -> None:
    made = [attempt(kind, state) for kind, state in attempts]
    expected = None if refundable is None else made[refundable]
    assert order(Status.PAID, *made).refundable_charge == expected


def test_what_is_due_is_what_is_open() -> None:
    keys = [uuid4(), uuid4()]
    made = [attempt("charge", "failed"), attempt("charge", "open", keys[0]), attempt("refund", "open", keys[1])]
    assert order(Status.PAID, *made).due == tuple(keys)
