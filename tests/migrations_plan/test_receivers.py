"""Before a service writes, somebody has to have said what becomes of each signal receiver."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db.models.signals import post_delete, post_save
from django.dispatch import Signal

from legacy_shop.orders.models import Order, OrderLine
from migrations_plan.builders import shared
from migrations_plan.gates import Outcome, Subject
from migrations_plan.listeners import Inventory, Receiver, inventory
from migrations_plan.measurements import RouterMeasurements
from migrations_plan.receivers import ReceiversHandled
from tests.migrations_plan.fakes import FakeMeasurements

SUBJECT = Subject(service="orders", step="shared.reads@100", store="shared", since=datetime(2026, 1, 1, tzinfo=UTC))
HERE = "tests.migrations_plan.test_receivers"
MODELS = ("orders.Order", "orders.OrderLine")
order_shipped = Signal()


def tell_warehouse(**kwargs: Any) -> None:
    """Stand in for a monolith's receiver."""


async def tell_warehouse_later(**kwargs: Any) -> None:
    """Stand in for one that is asynchronous."""


class Watcher:
    def see(self, **kwargs: Any) -> None:
        """Stand in for a method."""

    def __call__(self, **kwargs: Any) -> None:
        """Stand in for an object."""


@contextmanager
def connected(signal: Signal, receiver: Any, **how: Any) -> Iterator[None]:
    signal.connect(receiver, weak=False, **how)
    try:
        yield
    finally:
        signal.disconnect(receiver, sender=how.get("sender"), dispatch_uid=how.get("dispatch_uid"))


def paths(*models: str, signals: tuple[str, ...] = ()) -> dict[str, str]:
    return {one.path: one.listens_to for one in inventory(models, signals).receivers}


class TestInventory:
    def test_of_one_model(self) -> None:
        with connected(post_save, tell_warehouse, sender=Order):
            assert paths("orders.Order") == {f"{HERE}.tell_warehouse": "post_save of orders.Order"}
            assert paths("orders.OrderLine") == {}
        assert paths("orders.Order") == {}

    def test_of_every_model(self) -> None:
        with connected(post_delete, tell_warehouse):
            assert paths("orders.OrderLine") == {f"{HERE}.tell_warehouse": "post_delete of orders.OrderLine"}

    def test_named_lazily_and_with_an_id(self) -> None:
        with connected(post_save, tell_warehouse, sender="orders.Order", dispatch_uid="warehouse"):
            assert f"{HERE}.tell_warehouse" in paths("orders.Order")

    @pytest.mark.parametrize(
        ("receiver", "name"),
        [
            (tell_warehouse_later, "tell_warehouse_later"),
            (functools.partial(tell_warehouse, fast=True), "tell_warehouse"),
            (Watcher().see, "Watcher.see"),
            (Watcher(), "Watcher"),
        ],
    )
    def test_of_any_kind(self, receiver: Any, name: str) -> None:
        with connected(post_save, receiver, sender=OrderLine):
            (found,) = inventory(MODELS, ()).receivers
        assert found.path == f"{HERE}.{name}"
        assert found.where.startswith(__file__)

    def test_those_that_are_gone_do_not_count(self) -> None:
        def short_lived(**kwargs: Any) -> None:
            """Is collected as soon as nobody holds it."""

        post_save.connect(short_lived, sender=Order)
        assert paths("orders.Order")
        del short_lived
        assert paths("orders.Order") == {}

    def test_of_the_project_s_own_signals(self) -> None:
        with connected(order_shipped, tell_warehouse, sender=Order), connected(order_shipped, tell_warehouse_later):
            assert set(paths(signals=(f"{HERE}.order_shipped",))) == {
                f"{HERE}.tell_warehouse",
                f"{HERE}.tell_warehouse_later",
            }

    def test_what_there_is_not(self) -> None:
        found = inventory(("orders.Odor", "nonsense"), (f"{HERE}.order_sunk", f"{HERE}.SUBJECT"))
        assert found.unknown == (
            "model orders.Odor",
            "model nonsense",
            f"signal {HERE}.order_sunk",
            f"signal {HERE}.SUBJECT",
        )

    def test_the_toolkit_itself_does_not_count(self) -> None:
        assert inventory(("waffle.Switch", "auth.User"), ()).inspected == 14
        assert not any(path.startswith(("django.", "router.")) for path in paths("auth.User"))


class TestGate:
    def measured(self, gate: ReceiversHandled, *receivers: Receiver, handlers: tuple[str, ...] = ()) -> Any:
        listening = Inventory(receivers=receivers, inspected=14)
        return gate.measure(SUBJECT, FakeMeasurements(listening=listening, handlers=frozenset(handlers)))

    def listener(self, name: str = "mail") -> Receiver:
        return Receiver(path=f"shop.{name}", where="shop.py:7", listens_to="post_save of orders.Order")

    def test_nothing_listens(self) -> None:
        result = self.measured(ReceiversHandled(models=MODELS))
        assert (result.outcome, result.samples) == (Outcome.PASS, 14)

    def test_somebody_listens_and_nobody_has_said_what_becomes_of_it(self) -> None:
        result = self.measured(ReceiversHandled(models=MODELS), self.listener(), self.listener("points"))
        assert result.outcome is Outcome.FAIL
        assert "shop.mail (shop.py:7) listens to post_save of orders.Order" in result.detail
        assert 'handled={"shop.points": "<handler>"}' in result.detail

    def test_declared_with_a_handler(self) -> None:
        gate = ReceiversHandled(models=MODELS, handled={"shop.mail": "orders.mail"})
        assert self.measured(gate, self.listener(), handlers=("orders.mail",)).outcome is Outcome.PASS

    def test_declared_with_a_handler_that_there_is_not(self) -> None:
        gate = ReceiversHandled(models=MODELS, handled={"shop.mail": "orders.mali"})
        result = self.measured(gate, self.listener(), handlers=("orders.mail",))
        assert (result.outcome, "no event handler is called orders.mali" in result.detail) == (Outcome.FAIL, True)

    def test_declared_with_a_reason(self) -> None:
        gate = ReceiversHandled(models=MODELS, handled={"shop.mail": "only clears a cache that expires by itself"})
        assert self.measured(gate, self.listener()).outcome is Outcome.PASS

    def test_declared_and_gone_is_mentioned_and_harmless(self) -> None:
        gate = ReceiversHandled(models=MODELS, handled={"shop.mail": "went away with the fax"})
        result = self.measured(gate)
        assert (result.outcome, "not there any more: shop.mail" in result.detail) == (Outcome.PASS, True)

    def test_nothing_looked_at_proves_nothing(self) -> None:
        result = ReceiversHandled().measure(SUBJECT, FakeMeasurements(listening=Inventory()))
        assert (result.outcome, result.missing) == (Outcome.INCONCLUSIVE, 1)

    def test_a_name_mistyped_proves_nothing(self) -> None:
        listening = Inventory(unknown=("model orders.Odor",), inspected=7)
        result = ReceiversHandled(models=("orders.Odor",)).measure(SUBJECT, FakeMeasurements(listening=listening))
        assert (result.outcome, "no model orders.Odor" in result.detail) == (Outcome.INCONCLUSIVE, True)


@pytest.mark.parametrize(("reads", "step"), [((1, 100), "shared.reads@100"), ((), "shared.shadow")])
def test_it_holds_before_the_first_write(reads: tuple[int, ...], step: str) -> None:
    gate = ReceiversHandled(models=MODELS)
    phase = shared(reads=reads, writes=(1, 100), receivers=gate)
    assert [found.name for found in phase.steps if gate in found.gates] == [step]


def test_the_shop_has_none_left() -> None:
    gate = ReceiversHandled(models=MODELS)
    assert gate.measure(SUBJECT, RouterMeasurements()).outcome is Outcome.PASS


def test_the_shop_s_handlers_are_known() -> None:
    assert {"orders.mail", "accounts.loyalty"} <= RouterMeasurements().event_handlers()
