"""The steps in which ownership changes hands, there and back: both sides in one process, every refusal tried."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import pytest
from django.db import transaction
from django.utils import timezone

from legacy_shop.orders.models import Order
from migrations_plan import owning, syncing
from migrations_plan.errors import NotReady, OperationFailed, Paused, StateChanged, WouldLoseData
from migrations_plan.executor import Executor
from migrations_plan.runs import Orders, Progress
from migrations_plan.state import Direction
from migrations_plan.sync import intents, leases, operate
from migrations_plan.sync.errors import PeerUnavailable
from migrations_plan.sync.handover import moving
from migrations_plan.sync.messages import Fitness, Mint
from migrations_plan.sync.models import Mark, ParkedDocument, Verification
from migrations_plan.testing import stand_at
from router.fences import NotOwner
from tests.migrations_plan.fakes import ALICE, executor
from tests.migrations_plan.sync.cutover.hands import PLAN, Away, Changed, killed_at, last_lines, owned
from tests.migrations_plan.sync.houses import LEGACY, OWN, contents
from tests.own.rows import OwnOrder

pytestmark = pytest.mark.django_db(databases=["default", "own"])


class TestThereAndBack:
    def test_buckets_go_to_the_service_step_by_step_and_come_home(self, mover: Executor, said: list[Progress]) -> None:
        for to, count in (("separate.cutover@1", 1), ("separate.cutover@3", 3), ("separate.bake", 100)):
            assert mover.advance(to, ALICE).done
            assert owned() == {"default": 100 - count, "own": count}
        assert "  3 of 3 buckets are at extracted" in [one.text for one in said if one.passing]
        made = OwnOrder.objects.using("own").order_by("pk").first()
        assert made is not None
        with pytest.raises(NotOwner), transaction.atomic():
            Order.objects.filter(pk=made.pk).update(note="no more")
        OwnOrder.objects.using("own").filter(pk=made.pk).update(remark="written at the service")
        ran = mover.rollback("separate.cutover@3", ALICE)
        assert (ran.after, ran.homecomings[0].buckets) == ("separate.cutover@3", tuple(range(3, 100)))
        assert owned() == {"default": 97, "own": 3}
        mover.rollback("separate.shadow", ALICE)
        assert owned() == {"default": 100, "own": 0}
        assert Order.objects.get(pk=made.pk).note == "written at the service"
        assert contents(LEGACY) == contents(OWN)
        mover.rollback("shared", ALICE)
        assert not operate.standing("orders").captured

    def test_history_says_how_many_and_how_long_they_were_held(self, mover: Executor) -> None:
        mover.advance("separate.cutover@3", ALICE)
        (told,) = [line for line in last_lines("operation") if "3 of 3" in line]
        assert "bring buckets 1 to 2 of orders to the service, one at a time" in told
        assert "3 of 3 buckets are at extracted, 2 of them moved now; nobody could write in a bucket for " in told
        assert "ms (p50)" in told

    def test_a_run_that_was_killed_is_finished_or_undone(self, mover: Executor) -> None:
        with pytest.raises(KeyboardInterrupt):
            replace(mover, progress=killed_at("2 of 3 buckets are at extracted")).advance("separate.cutover@3", ALICE)
        assert (owned(), mover.state().moving_to) == ({"default": 98, "own": 2}, "separate.cutover@3")
        mover.advance(None, ALICE)
        assert (owned(), mover.state().step) == ({"default": 97, "own": 3}, "separate.cutover@3")
        with pytest.raises(KeyboardInterrupt):
            replace(mover, progress=killed_at("98 of 99 buckets are at legacy")).rollback("separate.cutover@1", ALICE)
        assert (owned()["own"], mover.state().moving_to) == (2, "separate.cutover@1")
        mover.rollback(None, ALICE)
        assert (owned(), mover.state().step) == ({"default": 99, "own": 1}, "separate.cutover@1")

    def test_undone_in_the_middle_of_the_way_there(self, mover: Executor) -> None:
        with pytest.raises(KeyboardInterrupt):
            replace(mover, progress=killed_at("40 of 100 buckets are at extracted")).advance("separate.bake", ALICE)
        assert owned() == {"default": 60, "own": 40}
        mover.rollback(None, ALICE)
        assert (owned(), mover.state().step) == ({"default": 97, "own": 3}, "separate.cutover@3")

    def test_twice_is_as_good_as_once(self, mover: Executor) -> None:
        mover.advance("separate.cutover@3", ALICE)
        (operation,) = owning.moved_by(PLAN.find("separate.cutover@3"))
        context = mover.plan_moves(Direction.BACKWARDS, "separate.cutover@1")[0].context(mover.measurements)
        operation.preflight(context)
        operation.forwards(context)
        assert owned()["own"] == 3
        for _ in range(2):
            operation.backwards(context)
            assert owned()["own"] == 1

    def test_pausing_stops_it_after_the_bucket_it_is_at(self, mover: Executor) -> None:
        def pause(progress: Progress) -> None:
            if progress.text == "  10 of 100 buckets are at extracted":
                executor(PLAN).pause(Orders(actor="bob", reason="lunch"))

        with pytest.raises(StateChanged, match=r"bob changed orders at .*: paused"):
            replace(mover, progress=pause).advance("separate.cutover", ALICE)
        assert owned()["own"] == 10
        assert not operate.standing("orders").between
        with pytest.raises(Paused, match=r"by bob since .*lunch"):
            mover.advance(None, ALICE)
        mover.rollback(None, ALICE)
        assert owned()["own"] == 3


def never_verified(sides: Any) -> None:
    Verification.objects.all().delete()


def verified_long_ago(sides: Any) -> None:
    Verification.objects.update(started_at=timezone.now() - timedelta(minutes=20))


def found_corrupt(sides: Any) -> None:
    Verification.objects.update(corrupt=2)


def without_triggers(sides: Any) -> None:
    missing = Fitness(problems=("The triggers of orders are not installed, so nobody would see its changes.",))
    sides["extracted"] = Changed(sides["extracted"], fitness=lambda aggregate: missing)


def not_loadable(sides: Any) -> None:
    real = sides["extracted"]

    def newer(aggregate: str, keys: tuple[str, ...]) -> Any:
        return tuple(msgspec.structs.replace(one, version=99) for one in real.documents(aggregate, keys))

    sides["extracted"] = Changed(real, documents=newer)


def same_ids(sides: Any) -> None:
    mints = (Mint(part="root", first=1, next=50),)
    for name, side in tuple(sides.items()):
        sides[name] = Changed(side, fitness=lambda aggregate: Fitness(mints=mints))


def service_down(sides: Any) -> None:
    sides["extracted"] = Away()


def not_accepted(sides: Any) -> None:
    Mark.objects.filter(bucket__gte=0).update(retry_at=timezone.now(), tries=5, bucket=0)


FORWARDS: dict[str, tuple[Callable[[Any], None], str]] = {
    "no verification": (never_verified, r"verification: orders was never verified. `sync verify orders` compares"),
    "an old verification": (verified_long_ago, r"orders was verified 20 min ago; 15 min is the most. `sync verify"),
    "a corrupt row": (found_corrupt, r"orders: 2 differ. `sync verify orders --repair` mends them"),
    "no triggers": (without_triggers, r"triggers: extracted: The triggers of orders are not installed.*`sync install"),
    "no way back": (not_loadable, r"way back: orders \d+ could not come back"),
    "the same ids": (same_ids, r"ids: root: both sides would mint the same ids. Give one of them a range of its own"),
    "the service down": (service_down, r"triggers: http://127.0.0.1:8103/strangler/sync/ does not answer"),
    "refused documents": (not_accepted, r"queue: \d+ documents were not taken. `sync waiting orders` says why"),
}


class TestWhatKeepsBucketsWhereTheyAre:
    @pytest.mark.parametrize("name", FORWARDS)
    def test_nothing_is_begun(self, name: str, mover: Executor, sides: Any) -> None:
        spoil, says = FORWARDS[name]
        spoil(sides)
        with pytest.raises(NotReady, match=says) as error:
            mover.advance("separate.cutover@1", ALICE)
        assert str(error.value).startswith("No bucket of orders may change hands now, and none did. ")
        assert str(error.value).endswith("Once that is mended, `phase advance orders` goes on.")
        assert not mover.state().moving

    def test_a_service_that_hangs_is_waited_for_once(self, mover: Executor, sides: Any) -> None:
        asked = []

        class Hanging:
            def __getattr__(self, verb: str) -> Any:
                asked.append(verb)
                raise PeerUnavailable("it did not answer within 5 s.")

        sides["extracted"] = Hanging()
        with pytest.raises(NotReady) as error:
            mover.advance("separate.cutover@1", ALICE)
        assert [
            name for name in ("triggers", "ids", "way back") if f"{name}: it did not answer" in str(error.value)
        ] == [
            "triggers",
            "ids",
            "way back",
        ]
        assert asked == ["fitness"]

    def test_open_work_keeps_its_bucket_and_no_other(self, mover: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(moving, "Terms", partial(moving.Terms, intents_seconds=0.0))
        intents.register("orders", "saga", lambda buckets: {1: 2})
        try:
            with pytest.raises(OperationFailed) as error:
                mover.advance("separate.cutover@3", ALICE)
        finally:
            intents.forget("orders", "saga")
        assert (
            "BucketsLeft: 2 of 3 buckets of orders are at extracted, and nothing was lost. Where they were: bucket 1: "
            "In bucket 1 of orders 2 pieces of work have been under way for 0 s. They have to end first: where they "
            "are sagas, `sagas list` at the side that owns the bucket names them."
        ) in str(error.value)
        assert "`phase advance orders` finishes it; `phase rollback orders` undoes it." in str(error.value)
        assert owned()["own"] == 2
        assert (mover.state().step, mover.state().moving_to) == ("separate.cutover@1", "separate.cutover@3")
        mover.advance(None, ALICE)
        assert owned()["own"] == 3

    def test_a_bucket_in_between_is_told_and_the_next_run_goes_on(self, mover: Executor, sides: Any) -> None:
        def dies(aggregate: str, documents: Any) -> Any:
            raise PeerUnavailable("it fell over.")

        mover.advance("separate.cutover@1", ALICE)
        real = sides["extracted"]
        sides["extracted"] = Changed(real, change=dies)
        with pytest.raises(OperationFailed) as error:
            mover.advance("separate.cutover@3", ALICE)
        assert "1 of 3 buckets of orders are at extracted, and nothing was lost." in str(error.value)
        assert "In between, so that nobody writes in them until a coordinator goes on: bucket 1: it fell over." in str(
            error.value
        )
        assert "`sync resume orders` at once. 1 were not tried any more." in str(error.value)
        assert operate.standing("orders").between == (1,)
        sides["extracted"] = real
        mover.advance(None, ALICE)
        assert owned()["own"] == 3
        assert operate.standing("orders").between == ()

    def test_a_second_operator_is_told_who_moves_them(self, mover: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(syncing, "BUSY_SECONDS", 0.0)
        with leases.held(LEGACY.alias, "handover orders", 30) as lease, pytest.raises(OperationFailed) as error:
            mover.advance("separate.cutover@1", ALICE)
        assert f"handover orders is being done by {lease.holder} until " in str(error.value)
        assert "Let it end, and run this again." in str(error.value)
        assert owned()["own"] == 0

    def test_the_sweeper_is_waited_for(self, mover: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
        with ExitStack() as sweeper:
            sweeper.enter_context(leases.held(LEGACY.alias, "handover orders", 30))
            monkeypatch.setattr(moving, "pause", lambda seconds: sweeper.close())
            mover.advance("separate.cutover@1", ALICE)
        assert owned()["own"] == 1


def parked_here(sides: Any) -> None:
    ParkedDocument.objects.create(
        aggregate="orders", key="7", bucket=0, epoch=2, gen=4, version=1, data=None, reason="no such product"
    )


BACKWARDS: dict[str, tuple[Callable[[Any], None], str]] = {
    "the service down": (
        service_down,
        r"The service holds 1 buckets of orders and cannot be asked for them: http://127.0.0.1:8103",
    ),
    "no triggers there": (without_triggers, r"triggers: extracted: The triggers of orders are not installed"),
    "documents parked here": (parked_here, r"queue: 1 documents were not taken. `sync waiting orders` says why"),
    "a corrupt row": (
        found_corrupt,
        r"verification: orders: 2 differ between the sides. `sync verify orders --repair`",
    ),
}


class TestComingHome:
    def test_what_has_to_come_is_said_before_anything_is_undone(self, mover: Executor, said: list[Progress]) -> None:
        mover.advance("separate.cutover", ALICE)
        OwnOrder.objects.using("own").update(remark="changed")
        said.clear()
        mover.rollback("separate.shadow", ALICE)
        assert said[0].text == (
            "100 buckets of orders have to come home, with 12 changes that are not here yet; 0 pieces of work have to "
            "end first. It takes about 10 s."
        )

    @pytest.mark.parametrize("name", BACKWARDS)
    def test_nothing_is_undone_where_data_would_be_lost(self, name: str, mover: Executor, sides: Any) -> None:
        mover.advance("separate.cutover@1", ALICE)
        spoil, says = BACKWARDS[name]
        spoil(sides)
        with pytest.raises(WouldLoseData, match=says) as error:
            mover.rollback("monolith", ALICE)
        assert "orders cannot go back without losing data: " in str(error.value)
        assert "Nothing was undone. Once that is mended, `phase rollback orders` goes back." in str(error.value)
        assert (mover.state().step, mover.state().moving, owned()["own"]) == ("separate.cutover@1", False, 1)

    def test_what_nobody_can_tell_is_not_told_as_nothing(
        self, mover: Executor, sides: Any, said: list[Progress]
    ) -> None:
        mover.advance("separate.cutover@3", ALICE)
        said.clear()
        sides["extracted"] = Away()
        with pytest.raises(WouldLoseData):
            mover.rollback("separate.shadow", ALICE)
        assert said[0].text == "3 buckets of orders have to come home; with how much, nobody can tell."

    def test_nothing_away_asks_nobody(self, mover: Executor, sides: Any) -> None:
        stand_at("orders", "separate.cutover@1")
        sides["extracted"] = Away()
        ran = mover.rollback("separate.shadow", ALICE)
        assert str(ran.homecomings[0]) == "Every bucket of orders on this way is at home."

    def test_an_old_verification_keeps_nobody_away_from_home(self, mover: Executor, sides: Any) -> None:
        mover.advance("separate.cutover@1", ALICE)
        verified_long_ago(sides)
        mover.rollback("separate.shadow", ALICE)
        assert owned()["own"] == 0
