"""An order as the service thinks of it, whatever tables it lives in."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from extracted.orders.domain.errors import NotCancellable, NotChangeable, NotPayable, TooLarge
from extracted.orders.domain.money import Money, zero


class Status(StrEnum):
    """Where an order stands."""

    PENDING = "pending"
    PAID = "paid"
    SHIPPED = "shipped"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Payment(StrEnum):
    """What became of an order's money, as far as it is known."""

    NONE = "none"
    OPEN = "open"
    PAID = "paid"
    FAILED = "failed"
    REFUNDING = "refunding"
    REFUNDED = "refunded"


class AttemptKind(StrEnum):
    """Which way the money goes."""

    CHARGE = "charge"
    REFUND = "refund"


class AttemptState(StrEnum):
    """Open until the provider's answer is known for certain."""

    OPEN = "open"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


CURRENCY = "USD"
BEFORE_SHIPPING = frozenset({Status.PENDING, Status.PAID})
"""The states in which the parcel has not left and everything about it can still change."""
CLOSED = frozenset({Status.CANCELLED, Status.EXPIRED})
"""The states in which the shop may keep no money."""
HIGHEST_TOTAL = Decimal("9999999999.99")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a parcel goes, as it was when the order was placed."""

    name: str
    street: str
    city: str
    postcode: str
    country: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """One product of an order, with name and price as they were."""

    product: int
    sku: str
    name: str
    quantity: int
    unit_price: Money
    amount: Money
    """What the line cost, as it was charged: old purchases were not always quantity times price."""

    @classmethod
    def priced(cls, *, product: int, sku: str, name: str, quantity: int, unit_price: Money) -> "Line":
        """Return a line at today's price."""
        amount = unit_price * quantity
        return cls(product=product, sku=sku, name=name, quantity=quantity, unit_price=unit_price, amount=amount)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One charge or refund that was asked of the payment provider, or is about to be."""

    kind: AttemptKind
    state: AttemptState
    amount: Money
    card: str = ""
    failure: str = ""
    provider_key: UUID


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order of one customer with its lines and the attempts to pay it, oldest first."""

    id: int
    number: str
    customer: int
    status: Status
    ship_to: Address
    total: Money
    note: str = ""
    placed_at: datetime
    paid_at: datetime | None = None
    closed_at: datetime | None = None
    lines: tuple[Line, ...] = field(default=())
    attempts: tuple[Attempt, ...] = field(default=())

    @property
    def can_cancel(self) -> bool:
        """Return whether the order can still be called off."""
        return self.status in BEFORE_SHIPPING

    @property
    def can_change_address(self) -> bool:
        """Return whether the parcel can still go elsewhere."""
        return self.status in BEFORE_SHIPPING

    @property
    def payment(self) -> Payment:
        """Return what became of the order's money."""
        return payment_state(self.attempts)

    @property
    def due(self) -> tuple[UUID, ...]:
        """Return the provider keys of the attempts whose end is not known yet, oldest first."""
        return tuple(attempt.provider_key for attempt in self.attempts if attempt.state is AttemptState.OPEN)

    @property
    def refundable_charge(self) -> Attempt | None:
        """Return the charge whose money has to go back if the order is cancelled now."""
        if any(a.kind is AttemptKind.REFUND and a.state is not AttemptState.FAILED for a in self.attempts):
            return None
        charged = (a for a in self.attempts if a.kind is AttemptKind.CHARGE and a.state is AttemptState.SUCCEEDED)
        return next(charged, None)

    def check_payable(self) -> None:
        """Raise NotPayable unless the order waits for money that nobody is fetching."""
        if self.status is not Status.PENDING:
            raise NotPayable(f"Order {self.number} is {self.status} and waits for no money.")
        live = (a for a in self.attempts if a.kind is AttemptKind.CHARGE and a.state is not AttemptState.FAILED)
        charge = next(live, None)
        if charge is not None:
            raise NotPayable(f"Order {self.number} has a charge already, which is {charge.state}.")

    def cancelled(self, at: datetime) -> "Order":
        """Return the order as it is once called off at ``at``."""
        if not self.can_cancel:
            raise NotCancellable(f"Order {self.number} is {self.status} and can no longer be cancelled.")
        return replace(self, status=Status.CANCELLED, closed_at=at)

    def paid(self, at: datetime) -> "Order":
        """Return the order as it is once its money has arrived; one that does not wait for money stays as it is."""
        return replace(self, status=Status.PAID, paid_at=at) if self.status is Status.PENDING else self

    def expired(self, at: datetime, placed_before: datetime) -> "Order":
        """Return the order as it is once given up, if it is older and nobody has paid or is about to."""
        return replace(self, status=Status.EXPIRED, closed_at=at) if self._overdue(placed_before) else self

    def _overdue(self, placed_before: datetime) -> bool:
        charged = any(a.kind is AttemptKind.CHARGE and a.state is not AttemptState.FAILED for a in self.attempts)
        return self.status is Status.PENDING and self.placed_at < placed_before and not charged

    def sent_to(self, address: Address) -> "Order":
        """Return the order as it is once it goes to ``address``."""
        if not self.can_change_address:
            raise NotChangeable(f"Order {self.number} is {self.status} and its address can no longer be changed.")
        return replace(self, ship_to=address)


def new_number(at: datetime) -> str:
    """Return a number for a new order that can be read out on the phone and is not guessed."""
    return f"{at:%y%m%d}-{secrets.token_hex(6).upper()}"


def total(lines: Iterable[Line], currency: str) -> Money:
    """Return what ``lines`` cost together; raise TooLarge if that cannot be invoiced."""
    amount = sum((line.amount for line in lines), start=zero(currency))
    if amount.amount > HIGHEST_TOTAL:
        raise TooLarge
    return amount


def payment_state(attempts: Iterable[Attempt]) -> Payment:
    """Return what became of the money, told from the attempts in the order they were made."""
    made = tuple(attempts)
    known = {(attempt.kind, attempt.state) for attempt in made}
    for kind, state, payment in (
        (AttemptKind.REFUND, AttemptState.SUCCEEDED, Payment.REFUNDED),
        (AttemptKind.REFUND, AttemptState.OPEN, Payment.REFUNDING),
        (AttemptKind.CHARGE, AttemptState.SUCCEEDED, Payment.PAID),
        (AttemptKind.CHARGE, AttemptState.OPEN, Payment.OPEN),
        (AttemptKind.CHARGE, AttemptState.FAILED, Payment.FAILED),
    ):
        if (kind, state) in known:
            return payment
    return Payment.NONE
