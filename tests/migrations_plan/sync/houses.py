"""Orders on either side, and what sync has noted about them."""

import itertools
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.test import override_settings

from legacy_shop.catalog.models import Category, Product
from legacy_shop.orders.models import Order, OrderLine
from legacy_shop.payments.models import PaymentAttempt
from migrations_plan.sync import changes, database, relay
from migrations_plan.sync.aggregates import Aggregate
from migrations_plan.sync.documents import form_of
from migrations_plan.sync.messages import Document, Outcome, State
from migrations_plan.sync.models import Applied, Mark, Ownership
from migrations_plan.sync.sides import Direction
from tests.own.rows import LEGACY, OWN

AT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
_numbers = itertools.count(1)

__all__ = ["LEGACY", "OWN"]


@contextmanager
def as_extracted() -> Iterator[None]:
    """Be the service for the length of the block, as far as sync's settings say."""
    with override_settings(STRANGLER_SYNC={"SIDE": "extracted", "AUDIENCE": "orders", "SECRET": "s" * 32}):
        yield


@contextmanager
def unseen(alias: str = "own") -> Iterator[None]:
    """Write past the fence and past capture, as a restored backup or a broken disk would."""
    with transaction.atomic(using=alias), database.capture_suppressed(alias):
        yield


def customer() -> User:
    """Make a customer."""
    return User.objects.create(username=f"customer-{next(_numbers)}")


def product() -> Product:
    """Make a product."""
    number = next(_numbers)
    category, _ = Category.objects.get_or_create(name="things", slug="things")
    return Product.objects.create(
        category=category, sku=f"S{number}", slug=f"s{number}", name=f"Thing {number}", price=Decimal("9.99")
    )


def unsaved(owner: User, **fields: Any) -> Order:
    """Return an order that is not in the database yet."""
    values = {
        "number": f"N{next(_numbers)}",
        "customer": owner,
        "ship_name": "Ann Lee",
        "ship_street": "1 Main Street",
        "ship_city": "Springfield",
        "ship_postcode": "12345",
        "total": Decimal("19.98"),
        "placed_at": AT,
    }
    return Order(**{**values, **fields})


def order(owner: User | None = None, lines: int = 0, **fields: Any) -> Order:
    """Make an order."""
    made = unsaved(owner or customer(), **fields)
    made.save()
    for _ in range(lines):
        line(made)
    return made


def line(of: Order, **fields: Any) -> OrderLine:
    """Make a line of an order."""
    values = {"product": fields.pop("product", None) or product(), "sku": "S", "name": "Thing", "quantity": 2}
    values |= {"unit_price": Decimal("9.99"), "amount": Decimal("19.98")}
    return OrderLine.objects.create(order=of, **{**values, **fields})


def attempt(of: Order) -> PaymentAttempt:
    """Make a payment attempt of an order."""
    return PaymentAttempt.objects.create(
        order=of, kind="charge", state="open", amount=of.total, provider_key=uuid.uuid4(), created_at=AT
    )


def gen(of: Order | int | str, side: Any = LEGACY) -> int:
    """Return the version that a side has noted for an order, 0 if none."""
    key = str(of.pk if isinstance(of, Order) else of)
    found = Mark.objects.using(side.alias).filter(aggregate="orders", key=key).values_list("gen", flat=True).first()
    return found or 0


def marks(side: Any = LEGACY) -> dict[str, tuple[int, int]]:
    """Return version and acknowledged version by key."""
    rows = Mark.objects.using(side.alias).filter(aggregate="orders")
    return {key: (gen, acked) for key, gen, acked in rows.values_list("key", "gen", "acked")}


def read(direction: Direction) -> tuple[Document, ...]:
    """Return what is due, as it would be sent now."""
    return direction.source.changes("orders", 500).documents


def deliver(direction: Direction, *documents: Document) -> list[Outcome]:
    """Have the other side apply documents; acknowledge nothing."""
    return [result.outcome for result in direction.target.apply("orders", documents)]


def settle(direction: Direction) -> None:
    """Relay until nothing is marked, what waits for another try included."""
    for _ in range(20):
        changes.hurry(LEGACY)
        relay.relay(LEGACY, direction)
        if not any(gen > acked for gen, acked in marks().values()):
            return
    raise AssertionError(f"still marked: {marks()}")


def contents(side: Aggregate) -> dict[str, Any]:
    """Return every document of a side, by key."""
    form = form_of(side)
    return {form.key_text(key): data for key, data in form.read_range(None, None).items()}


def applied(key: object) -> int:
    """Return the version of an order that the service has applied, 0 if none."""
    rows = Applied.objects.using(OWN.alias).filter(aggregate="orders", key=str(key))
    return rows.values_list("gen", flat=True).first() or 0


def become(side: Aggregate, bucket: int, state: State, epoch: int) -> None:
    """Make a side what it would be to a bucket in the middle of a change of hands."""
    Ownership.objects.using(side.alias).filter(bucket=bucket).update(state=state, epoch=epoch)
