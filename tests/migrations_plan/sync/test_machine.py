"""Any order of writes, relays, repetitions, crashes and backfill ends with both sides equal and nothing marked."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from legacy_shop.orders.models import Order, OrderLine
from migrations_plan.sync import backfill, database
from migrations_plan.sync.messages import Document, Sent
from migrations_plan.sync.models import Applied, Backfill, Mark, Ownership, ParkedDocument
from migrations_plan.sync.sides import Direction
from tests.examples import examples
from tests.migrations_plan.sync.houses import (
    LEGACY,
    OWN,
    contents,
    customer,
    line,
    marks,
    order,
    product,
    settle,
    unseen,
)
from tests.own.rows import OwnOrder

pytestmark = pytest.mark.django_db(databases=["default", "own"])

KEYS = (101, 102, 103)


class SyncMachine(RuleBasedStateMachine):
    """Three keys, one relay whose messages may be kept, repeated, reordered and lost."""

    way: Direction
    messages = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.owner, self.thing = customer(), product()
        self.versions: dict[str, int] = {}

    @initialize()
    def before_capture(self) -> None:
        """One order is older than the triggers."""
        with database.capture_suppressed("default"):
            order(self.owner, id=KEYS[0], number="old")
            database.check_references_at_once("default")

    # --- the shop -------------------------------------------------------------------------------------------
    @rule(key=st.sampled_from(KEYS), text=st.text("abc", max_size=2))
    def write(self, key: int, text: str) -> None:
        if not Order.objects.filter(pk=key).update(note=text):
            order(self.owner, id=key, note=text)

    @rule(key=st.sampled_from(KEYS))
    def add_line(self, key: int) -> None:
        found = Order.objects.filter(pk=key).first()
        if found is not None:
            line(found, product=self.thing)

    @rule(key=st.sampled_from(KEYS))
    def remove_lines(self, key: int) -> None:
        OrderLine.objects.filter(order_id=key).delete()

    @rule(one=st.sampled_from(KEYS), other=st.sampled_from(KEYS))
    def move_lines(self, one: int, other: int) -> None:
        if Order.objects.filter(pk=other).exists():
            OrderLine.objects.filter(order_id=one).update(order_id=other)

    @rule(key=st.sampled_from(KEYS))
    def delete(self, key: int) -> None:
        found = Order.objects.filter(pk=key).first()
        if found is not None:
            found.delete()

    # --- the relay ------------------------------------------------------------------------------------------
    @rule(target=messages, limit=st.integers(1, 3))
    def read(self, limit: int) -> tuple[Document, ...]:
        return self.way.source.changes("orders", limit).documents

    @rule(message=messages)
    def deliver_and_crash(self, message: tuple[Document, ...]) -> None:
        self.way.target.apply("orders", message)

    @rule(message=consumes(messages))
    def deliver_backwards_and_acknowledge(self, message: tuple[Document, ...]) -> None:
        results = self.way.target.apply("orders", tuple(reversed(message)))
        done = tuple(Sent(key=one.key, gen=one.gen) for one in results if one.outcome.settles)
        self.way.source.ack("orders", done, ())

    @rule(message=consumes(messages))
    def lose(self, message: tuple[Document, ...]) -> None:
        pass

    @rule()
    def relay(self) -> None:
        settle(self.way)

    # --- the backfill ---------------------------------------------------------------------------------------
    @rule(anew=st.booleans())
    def begin_backfill(self, anew: bool) -> None:
        backfill.start(LEGACY, anew=anew)

    @rule()
    def backfill_one(self) -> None:
        if backfill.standing(LEGACY) is not None:
            backfill.work(LEGACY, 1)

    # --- what always holds ----------------------------------------------------------------------------------
    @invariant()
    def applied_versions_only_grow(self) -> None:
        now = dict(Applied.objects.using("own").values_list("key", "gen"))
        assert all(now.get(key, 0) >= gen for key, gen in self.versions.items())
        self.versions = now

    @invariant()
    def applying_emits_nothing(self) -> None:
        assert marks(OWN) == {}

    def teardown(self) -> None:
        try:
            backfill.start(LEGACY)
            backfill.run(LEGACY, progress=lambda done: None, wait=lambda seconds: None)
            settle(self.way)
            assert contents(LEGACY) == contents(OWN)
            assert not ParkedDocument.objects.using("own").exists()
        finally:
            self.empty()

    def empty(self) -> None:
        models: list[Any] = [Mark, Backfill]
        OrderLine.objects.all().delete()
        Order.objects.all().delete()
        with unseen():
            OwnOrder.objects.using("own").all().delete()
        for model in models:
            model.objects.all().delete()
        for model in (Applied, Mark, ParkedDocument):
            model.objects.using("own").all().delete()
        Ownership.objects.update(backfilled=False)


def test_everything_arrives(both: Direction) -> None:
    class Machine(SyncMachine):
        way = both

    run_state_machine_as_test(Machine, settings=settings(examples(15), stateful_step_count=25, database=None))
