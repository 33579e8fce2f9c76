"""What a coordinator takes care of: sending beforehand, gaps found meanwhile, and buckets that nobody can help."""

from dataclasses import replace

import pytest

from legacy_shop.orders.models import Order
from migrations_plan.sync import backfill, ownership
from migrations_plan.sync.handover import coordinator, goals, moving
from migrations_plan.sync.handover.coordinator import Undecided
from migrations_plan.sync.handover.moving import move
from migrations_plan.sync.handover.preflight import SAMPLE, last_keys
from migrations_plan.sync.messages import Change, State
from migrations_plan.sync.models import Handover, Ownership
from tests.migrations_plan.sync.handover import hands
from tests.migrations_plan.sync.handover.hands import QUICK, Life, Mortal, Sides, bucket_of, states
from tests.migrations_plan.sync.houses import LEGACY, OWN, customer, order, unseen

pytestmark = pytest.mark.django_db(databases=["default", "own"])

OWNER, FROZEN, REPLICA = State.OWNER, State.FROZEN, State.REPLICA
SWEEPING = replace(QUICK, begin=False)


class TestBeforehand:
    """What can be done while everybody may write is not left for when nobody may."""

    @pytest.mark.parametrize("to", ["extracted", "legacy"])
    def test_what_waits_is_sent_before_the_freezing(self, sides: Sides, made: Order, to: str) -> None:
        if to == "legacy":
            hands.go(sides, made, "extracted")
            hands.write("extracted", made.pk, made.customer_id, "second")
        waiting = []

        class Watched(Mortal):
            def change(self, aggregate: str, change: Change) -> bool:
                waiting.append(hands.marked()[hands.OTHER[to]])
                return super().change(aggregate, change)

        assert hands.marked()[hands.OTHER[to]] == [str(made.pk)]
        between = {name: Watched(side, Life()) for name, side in sides.items()}
        assert move("orders", to, [bucket_of(made)], terms=QUICK, between=between).done  # type: ignore[arg-type]
        assert waiting == [[], [], []]

    def test_what_is_not_taken_there_keeps_the_bucket_and_holds_nobody(self, sides: Sides, made: Order) -> None:
        hands.parked(made)
        done = hands.go(sides, made, "extracted")
        assert "is not taken by extracted" in done.stayed[bucket_of(made)]
        assert states(bucket_of(made)) == {"legacy": (OWNER, 1), "extracted": (REPLICA, 1)}
        assert not Handover.objects.exists()

    def test_more_keeps_coming(self, sides: Sides, made: Order, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is not waited for: what is left is sent while the bucket is frozen."""
        send, sent = coordinator._send, []

        def and_more(run: coordinator._Drive, goal: str) -> None:
            send(run, goal)
            sent.append(goal)
            if run.frozen_at is None:
                hands.write("legacy", made.pk, made.customer_id, f"again {len(sent)}")

        monkeypatch.setattr(coordinator, "_send", and_more)
        monkeypatch.setattr(coordinator, "FEW", 0)
        assert hands.go(sides, made, "extracted").done
        assert len(sent) == coordinator.SENDS_BEFORE + 1
        assert hands.texts("extracted") == {made.pk: f"again {coordinator.SENDS_BEFORE}"}

    def test_a_refusal_that_nobody_looked_for_makes_the_commit_fail(
        self, sides: Sides, made: Order, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The would-be owner is not looked at again while the bucket is frozen; its row decides all the same."""
        bucket, refused = bucket_of(made), []

        def abort(of: int) -> None:
            if not refused:
                refused.append(ownership.change(OWN, bucket, (REPLICA, 1), (REPLICA, 3)))
                assert ownership.change(LEGACY, bucket, (FROZEN, 2), (OWNER, 3))

        terms = replace(QUICK, frozen=abort)
        done = move("orders", "extracted", [bucket], terms=terms, between=sides)
        assert refused == [True]
        assert (done.done, hands.owner_of(bucket)) == (True, "extracted")  # begun anew, since it was still the goal
        steps = Handover.objects.order_by("id").values_list("step", "epoch")
        assert list(steps) == [("freeze", 2), ("freeze", 4), ("commit", 4), ("learn", 4)]


class TestSweeping:
    """One bucket that cannot be helped keeps no other from being helped."""

    def torn(self, bucket: int) -> None:
        """Let both sides say that they are the replica, as after a restore from a backup."""
        Ownership.objects.filter(bucket=bucket).update(state=REPLICA)

    @pytest.mark.parametrize("wanted", ["extracted", None])
    def test_a_bucket_that_fits_no_rule(
        self, sides: Sides, made: Order, monkeypatch: pytest.MonkeyPatch, wanted: str | None
    ) -> None:
        monkeypatch.setattr(coordinator, "TORN_TRIES", 3)
        bucket = bucket_of(made)
        torn = 0 if bucket else 1
        self.torn(torn)
        if wanted:
            goals.set_goals(LEGACY, [torn], wanted)
        ownership.change(LEGACY, bucket, (OWNER, 1), (FROZEN, 2))
        found = moving.resume("orders", terms=SWEEPING, between=sides)
        assert set(found) == {torn, bucket}
        assert hands.owner_of(bucket) == "legacy"
        assert states(torn) == {"legacy": (REPLICA, 1), "extracted": (REPLICA, 1)}

    def test_it_says_what_is_wrong(self, sides: Sides) -> None:
        self.torn(3)
        known = {name: {one.bucket: one for one in side.ownership("orders")} for name, side in sides.items()}
        with pytest.raises(Undecided, match="restored from a backup"):
            moving._frozen_side(LEGACY, known, 3)


class TestGaps:
    """Triggers may be found missing at any moment, and then nobody knows what is not marked."""

    def test_found_while_a_bucket_is_frozen_the_bucket_is_given_back(self, sides: Sides, made: Order) -> None:
        hands.relay_all(sides)

        def gap(of: int) -> None:
            """What is compared once more is not what nobody saw."""

        class Gap(Mortal):
            def change(self, aggregate: str, change: Change) -> bool:
                if change.new.state is FROZEN:
                    with unseen():
                        Order.objects.update(note="unseen")
                done = super().change(aggregate, change)
                if change.new.state is FROZEN:  # now it is noticed
                    backfill.start(LEGACY, anew=True)
                return done

        between = {name: Gap(side, Life()) for name, side in sides.items()}
        terms = replace(QUICK, frozen=gap)
        done = move("orders", "extracted", [bucket_of(made)], terms=terms, between=between)  # type: ignore[arg-type]
        assert "is marked any more" in done.stayed[bucket_of(made)] or "Backfill it" in done.stayed[bucket_of(made)]
        assert hands.owner_of(bucket_of(made)) == "legacy"
        backfill.run(LEGACY, progress=lambda done: None, wait=lambda seconds: None)
        assert hands.go(sides, made, "extracted").done
        assert hands.texts("extracted") == {made.pk: "unseen"}

    def test_no_bucket_is_left_out_that_has_no_owner_for_a_moment(self, sides: Sides, made: Order) -> None:
        backfill.start(LEGACY, anew=True)
        ownership.change(LEGACY, bucket_of(made), (OWNER, 1), (FROZEN, 2))
        waiting = backfill.work(LEGACY)
        assert (waiting.finished, waiting.marked, waiting.throttled) == (
            False,
            0,
            f"bucket {bucket_of(made)} is changing hands",
        )
        ownership.change(LEGACY, bucket_of(made), (FROZEN, 2), (OWNER, 3))
        backfill.run(LEGACY, progress=lambda done: None, wait=lambda seconds: None)
        assert str(made.pk) in hands.marked()["legacy"]


class TestLooksAtWhatCameLast:
    def test_here_and_from_there(self, sides: Sides, made: Order) -> None:
        """Before orders come home, what the service wrote last counts as well as what was changed here."""
        buyer = customer()
        for _ in range(SAMPLE + 2):
            order(None, customer_id=buyer.pk)
        move("orders", "extracted", range(100), terms=QUICK, between=sides)
        hands.write("extracted", 2**40 + 7, buyer.pk, "there")
        hands.relay_all(sides)
        keys = last_keys(LEGACY, range(100))
        assert len(keys) == SAMPLE
        assert str(2**40 + 7) in keys
