"""Orders as the pages show them: made of the documents that either side answers."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

PAYABLE = frozenset({"none", "failed"})
BEFORE_SHIPPING = frozenset({"pending", "paid"})
"""The states in which the parcel has not left and everything about it can still change."""


@dataclass(frozen=True, kw_only=True)
class ShownLine:
    """A product of an order."""

    sku: str
    name: str
    quantity: int
    unit_price: Decimal
    amount: Decimal


@dataclass(frozen=True, kw_only=True)
class ShownOrder:
    """An order."""

    id: int
    number: str
    status: str
    payment: str
    total: Decimal
    note: str
    placed_at: datetime
    paid_at: datetime | None
    closed_at: datetime | None
    ship_to: dict[str, str]
    lines: tuple[ShownLine, ...]

    @classmethod
    def of(cls, document: dict[str, Any]) -> "ShownOrder":
        """Read the order's document."""
        return cls(
            id=document["id"],
            number=document["number"],
            status=document["status"],
            payment=document["payment"],
            total=Decimal(document["total"]),
            note=document["note"],
            placed_at=datetime.fromisoformat(document["placed_at"]),
            paid_at=_moment(document["paid_at"]),
            closed_at=_moment(document["closed_at"]),
            ship_to=document["ship_to"],
            lines=tuple(_line(line) for line in document["lines"]),
        )

    @property
    def open_ended(self) -> bool:
        """Whether it can still be cancelled, and sent elsewhere."""
        return self.status in BEFORE_SHIPPING

    @property
    def payable(self) -> bool:
        """Whether it waits for money that nobody is fetching."""
        return self.status == "pending" and self.payment in PAYABLE


def _line(line: dict[str, Any]) -> ShownLine:
    return ShownLine(
        sku=line["sku"],
        name=line["name"],
        quantity=line["quantity"],
        unit_price=Decimal(line["unit_price"]),
        amount=Decimal(line["amount"]),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
