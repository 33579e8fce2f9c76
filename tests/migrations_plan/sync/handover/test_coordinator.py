"""A bucket goes there and back: dying coordinators, aborts, and what each rule is there for."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from legacy_shop.orders.models import Order
from migrations_plan.sync import intents, ownership
from migrations_plan.sync.aggregates import Aggregate
from migrations_plan.sync.errors import Busy
from migrations_plan.sync.handover import coordinator, goals, moving
from migrations_plan.sync.handover.coordinator import NotYet, Undecided, drive
from migrations_plan.sync.handover.moving import move
from migrations_plan.sync.handover.recheck import rechecked
from migrations_plan.sync.messages import State
from migrations_plan.sync.models import Handover, Mark, Ownership
from migrations_plan.sync.sides import Direction
from router.fences import NotOwner
from tests.migrations_plan.sync.handover import hands
from tests.migrations_plan.sync.handover.hands import QUICK, Life, Sides, bucket_of, dying, mortal, states
from tests.migrations_plan.sync.handover.test_rules import (
    Decide,
    committing_whatever_the_epoch,
    committing_without_freezing,
    learning_before_the_commit,
    reopening_without_refusing,
)
from tests.migrations_plan.sync.houses import LEGACY, OWN, contents, order, settle, unseen
from tests.own.rows import OwnOrder

pytestmark = pytest.mark.django_db(databases=["default", "own"])

Patch = pytest.MonkeyPatch
OWNER, FROZEN, REPLICA = State.OWNER, State.FROZEN, State.REPLICA


class TestThereAndBack:
    def test_what_was_written_comes_along(self, sides: Sides, made: Order) -> None:
        done = hands.go(sides, made, "extracted")
        assert (done.done, done.moved, done.stayed) == (True, (bucket_of(made),), {})
        assert states(bucket_of(made)) == {"legacy": (REPLICA, 2), "extracted": (OWNER, 2)}
        assert contents(LEGACY) == contents(OWN)
        assert hands.marked() == {"legacy": [], "extracted": []}

    def test_the_new_owner_writes_and_the_old_one_does_not(self, sides: Sides, made: Order) -> None:
        hands.go(sides, made, "extracted")
        hands.write("extracted", made.pk, made.customer_id, "second")
        with pytest.raises(NotOwner):
            hands.write("legacy", made.pk, made.customer_id, "second")

    def test_it_comes_home_with_what_the_service_wrote(self, sides: Sides, made: Order) -> None:
        hands.go(sides, made, "extracted")
        hands.write("extracted", made.pk, made.customer_id, "second")
        hands.write("extracted", 2**40 + 1, made.customer_id, "new there")
        assert hands.go(sides, made, "legacy").done
        assert hands.texts("legacy") == {made.pk: "second", 2**40 + 1: "new there"}
        assert states(bucket_of(made)) == {"legacy": (OWNER, 3), "extracted": (REPLICA, 3)}
        hands.write("legacy", made.pk, made.customer_id, "third")

    def test_and_goes_again(self, sides: Sides, made: Order) -> None:
        for text, to in (("a", "extracted"), ("b", "legacy"), ("c", "extracted"), ("d", "legacy")):
            assert hands.go(sides, made, to).done
            hands.write(to, made.pk, made.customer_id, text)
        hands.relay_all(sides)
        assert hands.texts("legacy") == hands.texts("extracted") == {made.pk: "d"}

    def test_what_is_there_already_is_left_alone(self, sides: Sides, made: Order) -> None:
        hands.go(sides, made, "extracted")
        steps = Handover.objects.count()
        done = hands.go(sides, made, "extracted")
        assert (done.done, done.moved, Handover.objects.count()) == (True, (), steps)

    def test_each_step_is_written_down(self, sides: Sides, made: Order) -> None:
        hands.go(sides, made, "extracted")
        found = list(Handover.objects.order_by("id").values_list("step", "line", "at_side", "epoch"))
        assert found == [("freeze", "C3", "legacy", 2), ("commit", "C4", "extracted", 2), ("learn", "C1", "legacy", 2)]
        assert Handover.objects.get(step="commit").held_ms is not None

    def test_all_buckets(self, sides: Sides) -> None:
        made = [order() for _ in range(5)]
        done = move("orders", "extracted", range(100), terms=QUICK, between=sides)
        assert (done.there, len(done.moved)) == (100, 100)
        assert set(hands.texts("extracted")) == {one.pk for one in made}


class TestAnnounced:
    """Routers read by what they were told; so it is told in time, and taken back where nothing comes of it."""

    def test_before_the_first_bucket_moves(self, sides: Sides, made: Order) -> None:
        seen = []

        def wait(seconds: float) -> None:
            seen.append((seconds, goals.on_their_way("default", ["orders"]), states(bucket_of(made))["legacy"]))

        terms = replace(QUICK, announce_seconds=2.0, wait=wait)
        others = {(bucket_of(made) + 1) % 100, bucket_of(made)}
        assert move("orders", "extracted", others, terms=terms, between=sides).done
        assert seen[0] == (2.0, {"orders": frozenset(others)}, (OWNER, 1))
        assert goals.on_their_way("default", ["orders"]) == {}

    def test_what_never_had_its_turn_is_taken_back(self, sides: Sides, made: Order) -> None:
        def stop(text: str) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            move("orders", "extracted", range(5), terms=QUICK, between=sides, progress=stop)
        assert goals.on_their_way("default", ["orders"]) == {}
        assert hands.owner_of(4) == "legacy"

    def test_the_sweeper_takes_back_what_a_dead_operator_announced(self, sides: Sides, made: Order) -> None:
        goals.set_goals(LEGACY, range(5), "extracted")
        moving.resume("orders", terms=replace(QUICK, begin=False), between=sides)
        assert goals.on_their_way("default", ["orders"]) == {}


class TestDeath:
    """A coordinator dies before or after each of its swaps; the next one, or the sweeper, goes on."""

    @pytest.mark.parametrize(("swaps", "before"), [(swaps, before) for swaps in range(3) for before in (True, False)])
    @pytest.mark.parametrize("to", ["extracted", "legacy"])
    @pytest.mark.parametrize("after", ["again", "sweeper", "the other way"])
    def test_nothing_is_lost(self, sides: Sides, made: Order, swaps: int, before: bool, to: str, after: str) -> None:
        bucket = bucket_of(made)
        if to == "legacy":
            hands.go(sides, made, "extracted")
            hands.write("extracted", made.pk, made.customer_id, "second")
        text = hands.texts(hands.owner_of(bucket) or "")
        goals.set_goals(LEGACY, [bucket], to)
        with dying():
            drive(LEGACY, bucket, mortal(sides, Life(swaps, before=before)), QUICK)
        assert len({state for state, _ in states(bucket).values()} - {OWNER}) >= 1  # never two owners
        if after == "sweeper":
            moving.resume("orders", terms=replace(QUICK, begin=False), between=sides)
        else:
            hands.go(sides, made, to if after == "again" else hands.OTHER[to])
        owner = hands.owner_of(bucket)
        assert owner is not None
        assert hands.texts(owner) == text
        hands.write(owner, made.pk, made.customer_id, "last")
        hands.relay_all(sides)
        assert contents(LEGACY) == contents(OWN)
        assert moving.in_between("orders", between=sides) == ()

    def test_a_bucket_that_was_frozen_and_forgotten_is_given_back(self, sides: Sides, made: Order) -> None:
        bucket = bucket_of(made)
        ownership.change(LEGACY, bucket, (OWNER, 1), (FROZEN, 2))
        assert moving.resume("orders", terms=replace(QUICK, begin=False), between=sides) == (bucket,)
        assert hands.owner_of(bucket) == "legacy"

    def test_the_sweeper_begins_nothing(self, sides: Sides, made: Order) -> None:
        goals.set_goals(LEGACY, [bucket_of(made)], "extracted")
        moving.resume("orders", terms=replace(QUICK, begin=False), between=sides)
        assert states(bucket_of(made)) == {"legacy": (OWNER, 1), "extracted": (REPLICA, 1)}
        assert moving.in_between("orders", between=sides) == ()


class TestAbort:
    def test_what_does_not_arrive_in_time_is_given_back(self, sides: Sides, made: Order, monkeypatch: Patch) -> None:
        hands.sending_nothing_beforehand(monkeypatch)
        hands.parked(made)
        done = hands.go(sides, made, "extracted")
        assert not done.done
        assert "is not taken by extracted" in done.stayed[bucket_of(made)]
        (legacy, theirs) = (states(bucket_of(made))[name] for name in ("legacy", "extracted"))
        assert (legacy[0], theirs[0]) == (OWNER, REPLICA)
        assert legacy[1] > 2  # no commit that is still on its way can succeed
        hands.write("legacy", made.pk, made.customer_id, "second")

    def test_another_try_goes_through(self, sides: Sides, made: Order) -> None:
        hands.parked(made)
        hands.go(sides, made, "extracted")
        with unseen():
            OwnOrder.objects.using("own").filter(pk=4711).delete()
        assert hands.go(sides, made, "extracted").done

    def test_an_abort_that_comes_too_late_says_so(self, sides: Sides, made: Order) -> None:
        bucket = bucket_of(made)
        goals.set_goals(LEGACY, [bucket], "extracted")
        with dying():
            drive(LEGACY, bucket, mortal(sides, Life(2, before=True)), QUICK)  # it is committed, and not learnt
        goals.set_goals(LEGACY, [bucket], "legacy")
        done = drive(LEGACY, bucket, sides, QUICK)
        assert (done.late, done.owner) == (True, "extracted")
        assert states(bucket) == {"legacy": (REPLICA, 2), "extracted": (OWNER, 2)}


class TestConditions:
    def test_what_is_not_backfilled_stays(self, sides: Sides, made: Order) -> None:
        Ownership.objects.update(backfilled=False)
        assert "Backfill it" in hands.go(sides, made, "extracted").stayed[bucket_of(made)]

    def test_work_under_way_is_waited_for(self, sides: Sides, made: Order) -> None:
        left = [2, 1, 0]
        intents.register("orders", "test", lambda buckets: {bucket_of(made): left.pop(0) if left else 0})
        try:
            terms = replace(QUICK, intents_seconds=5.0)
            assert move("orders", "extracted", [bucket_of(made)], terms=terms, between=sides).done
        finally:
            intents.forget("orders", "test")

    def test_work_that_does_not_end_keeps_the_bucket(self, sides: Sides, made: Order) -> None:
        intents.register("orders", "test", lambda buckets: dict.fromkeys(buckets, 1))
        try:
            assert "pieces of work" in hands.go(sides, made, "extracted").stayed[bucket_of(made)]
        finally:
            intents.forget("orders", "test")

    def test_what_differs_although_all_has_arrived_keeps_the_bucket(self, sides: Sides, made: Order) -> None:
        settle(Direction(source=sides["legacy"], target=sides["extracted"]))
        with unseen():
            OwnOrder.objects.using("own").filter(pk=made.pk).update(total_minor=1)
        terms = replace(QUICK, frozen=rechecked(LEGACY, sides))
        done = move("orders", "extracted", [bucket_of(made)], terms=terms, between=sides)
        assert "differs between the sides" in done.stayed[bucket_of(made)]
        assert hands.owner_of(bucket_of(made)) == "legacy"

    def test_one_at_a_time(self, sides: Sides, made: Order) -> None:
        from migrations_plan.sync import leases

        with leases.held("default", "handover orders", 10), pytest.raises(Busy, match="is being done by"):
            hands.go(sides, made, "extracted")

    def test_a_service_with_its_hands_full_is_asked_again(self, sides: Sides, made: Order, monkeypatch: Patch) -> None:
        """The relay applies there as well, and only so much is applied at once."""
        from migrations_plan.sync.errors import PeerUnavailable

        apply, refusals = sides["extracted"].apply, [PeerUnavailable("Busy.", busy=True)] * 2

        def busy(*args: object) -> object:
            if refusals:
                raise refusals.pop()
            return apply(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(sides["extracted"], "apply", busy)
        assert hands.go(sides, made, "extracted").done
        assert refusals == []

    def test_the_service_may_be_away(self, sides: Sides, made: Order) -> None:
        from migrations_plan.sync.errors import PeerUnavailable

        class Away:
            name = "extracted"

            def __getattr__(self, name: str) -> object:
                if name == "change":
                    return self.gone
                return getattr(sides["extracted"], name)

            def gone(self, *args: object) -> None:
                raise PeerUnavailable("It is away.")

        done = move(
            "orders",
            "extracted",
            [bucket_of(made)],
            terms=QUICK,
            between={"legacy": sides["legacy"], "extracted": Away()},  # type: ignore[dict-item]
        )
        assert done.undecided == {bucket_of(made): "It is away."}
        with pytest.raises(NotOwner, match="changing hands"):
            hands.write("legacy", made.pk, made.customer_id, "lost?")
        moving.resume("orders", terms=replace(QUICK, begin=False), between=sides)
        assert hands.owner_of(bucket_of(made)) == "extracted"


# --- each rule is needed -----------------------------------------------------------------------------------------
def kept_when_moved(sides: Sides, made: Order) -> bool:
    hands.go(sides, made, "extracted")
    hands.relay_all(sides)
    return hands.texts("extracted") == {made.pk: "first"}


def kept_when_it_was_never_marked(sides: Sides, made: Order) -> bool:
    Mark.objects.all().delete()
    Ownership.objects.update(backfilled=False)
    hands.go(sides, made, "extracted")
    hands.relay_all(sides)
    owner = hands.owner_of(bucket_of(made))
    return owner is not None and hands.texts(owner) == {made.pk: "first"}


def settled_after_learning(sides: Sides, made: Order) -> bool:
    """A repair marks something after the drain; the new owner's word stands, and nothing stays marked for ever."""
    bucket = bucket_of(made)
    goals.set_goals(LEGACY, [bucket], "extracted")
    with dying():
        drive(LEGACY, bucket, mortal(sides, Life(2, before=True)), QUICK)
    Mark.objects.update(gen=99)
    moving.resume("orders", terms=replace(QUICK, begin=False), between=sides)
    return hands.marked()["legacy"] == []


def one_owner_although_a_commit_comes_late(sides: Sides, made: Order) -> bool:
    """A coordinator is held up before its commit, the bucket is taken back, and then the commit arrives."""
    bucket, life = bucket_of(made), Life(1, before=True)
    begin(sides, bucket, "extracted", life)
    goals.set_goals(LEGACY, [bucket], "legacy")
    drive(LEGACY, bucket, sides, QUICK)
    side, commit = life.swaps[-1]
    sides[side].change("orders", commit)
    return owners(bucket) == 1


def one_owner_at_most_after_the_first_swap(sides: Sides, made: Order) -> bool:
    begin(sides, bucket_of(made), "extracted", Life(0))
    return owners(bucket_of(made)) <= 1


def no_epoch_falls(sides: Sides, made: Order) -> bool:
    """A coordinator that takes the bucket back dies before the reopening; then the bucket is to go all the same."""
    hands.relay_all(sides)
    bucket = bucket_of(made)
    for goal in ("extracted", "legacy"):
        begin(sides, bucket, goal, Life(1, before=True))
    before = states(bucket)
    hands.go(sides, made, "extracted")
    assert hands.owner_of(bucket) == "extracted"
    return all(states(bucket)[name][1] >= epoch for name, (_, epoch) in before.items())


def an_owner_after_two_swaps_and_the_sweeper(sides: Sides, made: Order) -> bool:
    begin(sides, bucket_of(made), "extracted", Life(1))
    with suppress(Undecided):
        moving.resume("orders", terms=replace(QUICK, begin=False), between=sides)
    return owners(bucket_of(made)) == 1


def begin(sides: Sides, bucket: int, goal: str, life: Life) -> None:
    """Have a coordinator begin, and die."""
    goals.set_goals(LEGACY, [bucket], goal)
    with dying():
        drive(LEGACY, bucket, mortal(sides, life), QUICK)


def owners(bucket: int) -> int:
    return [state for state, _ in states(bucket).values()].count(OWNER)


def without_comparing(patch: Patch) -> None:
    change = ownership.change

    def whatever_stands_there(aggregate: Aggregate, bucket: int, old: object, new: object, *, settle: bool) -> bool:
        row = Ownership.objects.using(aggregate.alias).get(aggregate=aggregate.group, bucket=bucket)
        return change(aggregate, bucket, (State(row.state), row.epoch), new, settle=settle)  # type: ignore[arg-type]

    patch.setattr(ownership, "change", whatever_stands_there)


def deciding(decide: Decide) -> Callable[[Patch], None]:
    """Have coordinators go by another table."""

    def rule(patch: Patch) -> None:
        patch.setattr(coordinator, "next_action", decide)

    rule.__name__ = decide.__name__
    return rule


def without_draining(patch: Patch) -> None:
    hands.sending_nothing_beforehand(patch)
    patch.setattr(coordinator, "_ready", lambda run, goal, source: True)


def draining_before_freezing(patch: Patch) -> None:
    """Look whether all has arrived first, and write once more before the freezing."""
    hands.sending_nothing_beforehand(patch)
    patch.setattr(coordinator, "_ready", lambda run, goal, source: True)
    before = coordinator._before_freezing

    def write_after_looking(run: coordinator._Drive, source: object, side: str) -> None:
        hands.relay_all(run.sides)
        Order.objects.update(note="second")
        before(run, source, side)  # type: ignore[arg-type]

    patch.setattr(coordinator, "_before_freezing", write_after_looking)


def without_the_backfill_gate(patch: Patch) -> None:
    look = ownership.look
    patch.setattr(ownership, "look", lambda *args: tuple(backfilled(one) for one in look(*args)))


def backfilled(one: object) -> object:
    import msgspec

    return msgspec.structs.replace(one, backfilled=True)  # type: ignore[type-var]


def learning_without_settling(patch: Patch) -> None:
    change = ownership.change

    def unsettled(aggregate: Aggregate, bucket: int, old: object, new: object, *, settle: bool = False) -> bool:
        return change(aggregate, bucket, old, new)  # type: ignore[arg-type]

    patch.setattr(ownership, "change", unsettled)


RULES: list[tuple[Callable[[Sides, Order], bool], Callable[[Patch], None]]] = [
    (kept_when_moved, without_draining),
    (kept_when_it_was_never_marked, without_the_backfill_gate),
    (settled_after_learning, learning_without_settling),
    (one_owner_although_a_commit_comes_late, without_comparing),
    (one_owner_although_a_commit_comes_late, deciding(reopening_without_refusing)),
    (one_owner_at_most_after_the_first_swap, deciding(committing_without_freezing)),
    (no_epoch_falls, deciding(committing_whatever_the_epoch)),
    (an_owner_after_two_swaps_and_the_sweeper, deciding(learning_before_the_commit)),
]


@pytest.mark.parametrize(("scenario", "rule"), RULES, ids=[rule.__name__ for _, rule in RULES])
class TestRules:
    def test_it_holds(
        self, sides: Sides, made: Order, scenario: Callable[[Sides, Order], bool], rule: Callable[[Patch], None]
    ) -> None:
        assert scenario(sides, made)

    def test_it_breaks_without_the_rule(
        self,
        sides: Sides,
        made: Order,
        scenario: Callable[[Sides, Order], bool],
        rule: Callable[[Patch], None],
        monkeypatch: Patch,
    ) -> None:
        rule(monkeypatch)
        assert not scenario(sides, made)


def test_looking_before_freezing_is_not_enough(sides: Sides, made: Order, monkeypatch: Patch) -> None:
    draining_before_freezing(monkeypatch)
    hands.go(sides, made, "extracted")
    assert hands.texts("extracted") == {made.pk: "first"}  # what was acknowledged in between is lost


def test_nobody_says_who_is_to_own_it(sides: Sides, made: Order) -> None:
    with pytest.raises(NotYet, match="Nobody has said"):
        drive(LEGACY, bucket_of(made), sides, QUICK)
