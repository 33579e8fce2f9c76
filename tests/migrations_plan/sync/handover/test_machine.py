"""Whatever happens while ownership goes there and back, every acknowledged write is with the owner in the end, once."""

from contextlib import suppress

import pytest
from django.db import transaction
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from legacy_shop.orders.models import Order
from migrations_plan.sync.handover import goals, moving
from migrations_plan.sync.handover.coordinator import NotYet, drive
from migrations_plan.sync.messages import Again, Change, Document, Sent
from migrations_plan.sync.models import Applied, Goal, Handover, Lease, Mark, Ownership, ParkedDocument
from migrations_plan.sync.sides import Direction
from router.fences import NotOwner
from tests.examples import examples
from tests.migrations_plan.sync.handover import hands
from tests.migrations_plan.sync.handover.hands import OTHER, QUICK, Life, Sides, dying, mortal, owner_of, states
from tests.migrations_plan.sync.houses import LEGACY, OWN, contents, customer, unseen
from tests.own.rows import OwnOrder

pytestmark = pytest.mark.django_db(databases=["default", "own"])

KEYS = (101, 102)
SIDES = st.sampled_from(sorted(OTHER))
Message = tuple[str, tuple[Document, ...]]


class HandoverMachine(RuleBasedStateMachine):
    """One bucket of one customer; clients, relays and coordinators that know nothing of each other."""

    sides: Sides
    messages = Bundle("messages")
    swaps = Bundle("swaps")

    def __init__(self) -> None:
        super().__init__()
        self.buyer = customer().pk
        self.bucket = hands.bucket("orders", self.buyer)
        self.truth: dict[int, str] = {}
        self.epochs = {name: epoch for name, (_, epoch) in states(self.bucket).items()}
        hands.backfilled()
        goals.set_goals(LEGACY, [self.bucket], "legacy")

    # --- clients ---------------------------------------------------------------------------------------------
    @rule(key=st.sampled_from(KEYS), text=st.text("abc", min_size=1, max_size=2))
    def write_at_the_owner(self, key: int, text: str) -> None:
        owner = owner_of(self.bucket)
        if owner is not None:
            self.write(owner, key, text)

    @rule(side=SIDES, key=st.sampled_from(KEYS), text=st.text("abc", min_size=1, max_size=2))
    def write(self, side: str, key: int, text: str) -> None:
        """Somebody writes where a router, perhaps a stale one, has sent him; refused is not acknowledged."""
        try:
            hands.write(side, key, self.buyer, text)
        except NotOwner:
            assert owner_of(self.bucket) != side
            return
        assert owner_of(self.bucket) == side
        self.truth[key] = text

    @rule(side=SIDES, key=st.sampled_from(KEYS))
    def delete(self, side: str, key: int) -> None:
        rows = Order.objects.filter(pk=key) if side == "legacy" else OwnOrder.objects.using("own").filter(pk=key)
        if not rows.exists():
            return
        try:
            with transaction.atomic(using=rows.db):
                rows.delete()
        except NotOwner:
            assert owner_of(self.bucket) != side
            return
        self.truth.pop(key, None)

    # --- relays ----------------------------------------------------------------------------------------------
    @rule(target=messages, side=SIDES)
    def read(self, side: str) -> Message:
        return side, self.sides[side].changes("orders", 5).documents

    @rule(message=messages)
    def deliver(self, message: Message) -> None:
        side, documents = message
        self.sides[OTHER[side]].apply("orders", documents)

    @rule(message=consumes(messages))
    def deliver_and_acknowledge(self, message: Message) -> None:
        side, documents = message
        results = self.sides[OTHER[side]].apply("orders", tuple(reversed(documents)))
        done = tuple(Sent(key=one.key, gen=one.gen) for one in results if one.outcome.settles)
        self.sides[side].ack("orders", done, ())

    @rule()
    def relay(self) -> None:
        hands.relay_all(self.sides)

    @rule(side=SIDES, key=st.sampled_from(KEYS))
    def repair(self, side: str, key: int) -> None:
        if states(self.bucket)[side][0].value != "replica":
            self.sides[side].repair("orders", (Again(key=str(key), gen=0, bucket=self.bucket),))

    # --- coordinators ------------------------------------------------------------------------------------------
    @rule(goal=SIDES)
    def change_the_goal(self, goal: str) -> None:
        goals.set_goals(LEGACY, [self.bucket], goal)

    @rule(target=swaps, steps=st.integers(0, 3), before=st.booleans())
    def drive_and_die(self, steps: int, before: bool) -> tuple[str, Change] | None:
        """Run a coordinator that dies before or after one of its swaps; what it tried last may still arrive later."""
        life = Life(steps, before=before)
        with dying(), suppress(NotYet):
            drive(LEGACY, self.bucket, mortal(self.sides, life), QUICK)
        return life.swaps[-1] if life.swaps else None

    @rule(swap=swaps)
    def a_zombie_swaps(self, swap: tuple[str, Change] | None) -> None:
        if swap is not None:
            self.sides[swap[0]].change("orders", swap[1])

    @rule(goal=SIDES)
    def move(self, goal: str) -> None:
        goals.set_goals(LEGACY, [self.bucket], goal)
        drive(LEGACY, self.bucket, self.sides, QUICK)

    @rule()
    def sweep(self) -> None:
        moving.resume("orders", terms=moving.Terms(begin=False, hold_seconds=1.0), between=self.sides)

    # --- what always holds -------------------------------------------------------------------------------------
    @invariant()
    def at_most_one_owner_and_never_two_replicas(self) -> None:
        found = states(self.bucket)
        assert sorted(state.value for state, _ in found.values()) not in (["owner"] * 2, ["replica"] * 2)
        assert all(epoch >= self.epochs[name] for name, (_, epoch) in found.items())
        self.epochs = {name: epoch for name, (_, epoch) in found.items()}

    @invariant()
    def the_owner_has_what_was_acknowledged(self) -> None:
        owner = owner_of(self.bucket)
        if owner is not None:
            assert hands.texts(owner) == self.truth

    def teardown(self) -> None:
        try:
            moving.resume("orders", terms=moving.Terms(begin=False, hold_seconds=5.0), between=self.sides)
            hands.relay_all(self.sides)
            owner = owner_of(self.bucket)
            assert owner is not None
            assert hands.texts(owner) == self.truth
            assert contents(LEGACY) == contents(OWN)
            assert hands.marked() == {"legacy": [], "extracted": []}
            assert moving.in_between("orders", between=self.sides) == ()
        finally:
            self.empty()

    def empty(self) -> None:
        for alias, model in (("default", Order), ("own", OwnOrder)):
            with unseen(alias):
                model.objects.using(alias).all().delete()
            for table in (Mark, Applied, ParkedDocument):
                table.objects.using(alias).all().delete()
        for table in (Goal, Handover, Lease):
            table.objects.all().delete()
        Ownership.objects.update(state="owner", epoch=1)
        Ownership.objects.using("own").update(state="replica", epoch=1)


def test_nothing_acknowledged_is_lost(both: Direction) -> None:
    class Machine(HandoverMachine):
        sides = hands.sides_of(both)

    run_state_machine_as_test(Machine, settings=settings(examples(12), stateful_step_count=25, database=None))
