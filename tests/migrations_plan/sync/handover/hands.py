"""Two sides in one process between which buckets change hands, and coordinators that die in the middle of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from django.db import transaction

from legacy_shop.orders.models import Order
from migrations_plan.sync import backfill, relay
from migrations_plan.sync.buckets import bucket
from migrations_plan.sync.handover import coordinator
from migrations_plan.sync.handover.coordinator import Terms
from migrations_plan.sync.handover.moving import Moved, move
from migrations_plan.sync.messages import Change, Side, State
from migrations_plan.sync.models import Mark, Ownership
from migrations_plan.sync.sides import Direction
from tests.migrations_plan.sync.houses import AT, LEGACY, OWN, order, unseen
from tests.own.rows import OwnOrder

Sides = Mapping[str, Side]
OTHER = {"legacy": "extracted", "extracted": "legacy"}
QUICK = Terms(hold_seconds=1.0, lock_seconds=1.0, intents_seconds=0.0)


class Died(Exception):
    """The coordinator is dead."""


class Mortal:
    """A side whose caller dies before or after its n-th swap; every swap that was tried is remembered."""

    def __init__(self, side: Side, life: "Life") -> None:
        self._side, self._life = side, life

    @property
    def name(self) -> str:
        return self._side.name

    def change(self, aggregate: str, change: Change) -> bool:
        life = self._life
        life.swaps.append((self._side.name, change))
        life.left -= 1
        if life.left < 0 and life.before:
            raise Died
        done = self._side.change(aggregate, change)
        if life.left < 0:
            raise Died
        return done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._side, name)


class Life:
    """How many swaps a coordinator does before it dies, and whether it dies before or after the next one."""

    def __init__(self, swaps: int = 1_000_000, *, before: bool = False) -> None:
        self.left, self.before = swaps, before
        self.swaps: list[tuple[str, Change]] = []


def sides_of(way: Direction) -> Sides:
    return {"legacy": way.source, "extracted": way.target}


def mortal(sides: Sides, life: Life) -> Sides:
    return {name: Mortal(side, life) for name, side in sides.items()}  # type: ignore[misc]


def backfilled() -> None:
    backfill.start(LEGACY)
    backfill.run(LEGACY, progress=lambda done: None, wait=lambda seconds: None)


def states(of: int) -> dict[str, tuple[State, int]]:
    found = {}
    for name, aggregate in (("legacy", LEGACY), ("extracted", OWN)):
        row = Ownership.objects.using(aggregate.alias).get(bucket=of)
        found[name] = (State(row.state), row.epoch)
    return found


def owner_of(of: int) -> str | None:
    owning = [name for name, (state, _) in states(of).items() if state is State.OWNER]
    assert len(owning) < 2, "two owners"
    return owning[0] if owning else None


def bucket_of(made: Order) -> int:
    return bucket("orders", made.customer_id)


def write(side: str, key: int, buyer: int, text: str) -> None:
    """Place or change an order at a side, as its program would; raise NotOwner where it may not."""
    if side == "legacy":
        with transaction.atomic():
            if not Order.objects.filter(pk=key).update(note=text):
                order(None, id=key, number=f"K{key}", customer_id=buyer, note=text)
        return
    with transaction.atomic(using="own"):
        if not OwnOrder.objects.using("own").filter(pk=key).update(remark=text):
            own_order(key, buyer, text)


def own_order(key: int, buyer: int, text: str) -> None:
    OwnOrder.objects.using("own").create(
        id=key,
        reference=f"K{key}",
        buyer=buyer,
        state="pending",
        family_name="Lee",
        given_name="Ann",
        street="1 Main Street",
        town="Springfield",
        postal_code="12345",
        country="US",
        currency="USD",
        total_minor=1998,
        ordered_at=at(),
    )
    OwnOrder.objects.using("own").filter(pk=key).update(remark=text)


def at() -> datetime:
    return AT


def texts(side: str) -> dict[int, str]:
    if side == "legacy":
        return dict(Order.objects.values_list("pk", "note"))
    return dict(OwnOrder.objects.using("own").values_list("pk", "remark"))


def relay_all(sides: Sides) -> None:
    for _ in range(3):
        for name in OTHER:
            aggregate = LEGACY if name == "legacy" else OWN
            relay.relay(aggregate, Direction(source=sides[name], target=sides[OTHER[name]]))


def marked() -> dict[str, list[str]]:
    """Return what has not arrived, by the side that has it marked."""
    found = {}
    for name, aggregate in (("legacy", LEGACY), ("extracted", OWN)):
        rows = Mark.objects.using(aggregate.alias).filter(aggregate="orders")
        found[name] = [key for key, gen, acked in rows.values_list("key", "gen", "acked") if gen > acked]
    return found


@contextmanager
def dying() -> Iterator[None]:
    try:
        yield
    except Died:
        return


def go(sides: Sides, made: Order, to: str) -> Moved:
    return move("orders", to, [bucket_of(made)], terms=QUICK, between=sides)


def parked(made: Order) -> None:
    """Have somebody else hold the order's number at the service."""
    with unseen(), transaction.atomic(using="own"):
        own_order(4711, made.customer_id, "in the way")
        OwnOrder.objects.using("own").filter(pk=4711).update(reference=made.number)


def sending_nothing_beforehand(patch: pytest.MonkeyPatch) -> None:
    """Leave everything for when nobody may write, as if it had come just before."""
    patch.setattr(coordinator, "_send_beforehand", lambda run, goal, source: None)
