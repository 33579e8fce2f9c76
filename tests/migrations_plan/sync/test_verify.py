"""What differs is found, named and mended, on either side."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from legacy_shop.orders.models import Order
from legacy_shop.payments.models import PaymentAttempt
from migrations_plan.sync import digests, verify
from migrations_plan.sync.aggregates import Aggregate
from migrations_plan.sync.comparison import Kind
from migrations_plan.sync.database import capture_suppressed
from migrations_plan.sync.errors import NotTheOwner
from migrations_plan.sync.messages import State
from migrations_plan.sync.models import Applied, Finding, Mark
from migrations_plan.sync.relay import relay
from migrations_plan.sync.sides import Direction
from tests.migrations_plan.sync.corrupting import (
    own,
    owner_amount,
    owner_mark_lost,
    owner_mark_stale,
    owner_missing,
    owner_part_extra,
    owner_part_missing,
    replica_amount,
    replica_came_back,
    replica_missing,
    replica_part_amount,
    replica_part_extra,
    replica_part_missing,
    replica_part_of_another,
    replica_text_set_to_null,
    replica_unreadable,
    replica_version_ahead,
    replica_version_lost,
    replica_version_stale,
)
from tests.migrations_plan.sync.houses import (
    LEGACY,
    OWN,
    become,
    contents,
    marks,
    order,
    settle,
    unseen,
)
from tests.migrations_plan.sync.verifying import clean, found, mend, verified

pytestmark = pytest.mark.django_db(databases=["default", "own"])


PLANTED: list[tuple[Callable[[Order], None], Kind]] = [
    (replica_amount, Kind.CHANGED),
    (replica_text_set_to_null, Kind.CHANGED),
    (replica_part_amount, Kind.CHANGED),
    (replica_part_missing, Kind.CHANGED),
    (replica_part_extra, Kind.CHANGED),
    (replica_missing, Kind.MISSING),
    (replica_came_back, Kind.EXTRA),
    (replica_version_stale, Kind.VERSION),
    (replica_version_lost, Kind.VERSION),
    (replica_version_ahead, Kind.VERSION),
    (replica_unreadable, Kind.CHANGED),
    (owner_amount, Kind.CHANGED),
    (owner_part_missing, Kind.CHANGED),
    (owner_part_extra, Kind.CHANGED),
    (owner_missing, Kind.EXTRA),
    (owner_mark_lost, Kind.UNMARKED),
    (owner_mark_stale, Kind.VERSION),
]


def as_noted(entries: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    def noted(aggregate: Aggregate, *arguments: Any) -> Iterator[Any]:
        digests_of = dict(Applied.objects.using(aggregate.alias).values_list("key", "digest"))
        for key, bucket, gen, made, acked in entries(aggregate, *arguments):
            yield key, bucket, gen, digests_of.get(key, made), acked

    return noted


class TestCorruption:
    @pytest.mark.parametrize(("plant", "kind"), PLANTED)
    def test_it_is_found_and_mended(
        self, both: Direction, three: list[Order], plant: Callable[[Order], None], kind: Kind
    ) -> None:
        plant(three[1])
        verification = verified(both)
        assert found(verification) == {str(three[1].pk): kind}
        assert (verification.compared, verification.corrupt, verification.unresolved) == (3, 1, 0)
        assert mend(both, verification) == 1
        assert clean(verified(both))
        assert contents(LEGACY) == contents(OWN)
        assert all(gen == acked for gen, acked in marks().values())

    def test_a_part_that_went_to_another_aggregate_is_found_at_both(self, both: Direction, three: list[Order]) -> None:
        replica_part_of_another(three[1])
        verification = verified(both)
        assert found(verification) == {str(three[0].pk): "changed", str(three[1].pk): "changed"}
        verify.repair(LEGACY, list(verify.unrepaired(verification)), both.source, both.target)
        settle(both)
        assert clean(verified(both))

    @pytest.mark.parametrize("rule", [True, False])
    def test_digests_are_of_the_rows(
        self, both: Direction, three: list[Order], monkeypatch: pytest.MonkeyPatch, rule: bool
    ) -> None:
        """What was noted when a document was applied would be the same however its rows were spoilt since."""
        if not rule:
            monkeypatch.setattr(digests, "_entries", as_noted(digests._entries))
        assert clean(verified(both))
        replica_amount(three[1])
        assert clean(verified(both)) is not rule

    def test_an_extra_row_that_no_version_stands_for(self, both: Direction, three: list[Order]) -> None:
        extra = own().get(pk=three[1].pk)
        extra.pk, extra.reference = 2**40 + 5, "EXTRA"
        with unseen():
            extra.save(using="own", force_insert=True)
        verification = verified(both)
        assert found(verification) == {str(extra.pk): Kind.EXTRA}
        assert mend(both, verification) == 1
        assert clean(verified(both))
        assert not own().filter(pk=extra.pk).exists()

    def test_a_new_row_that_nobody_marked(self, both: Direction, three: list[Order]) -> None:
        with capture_suppressed("default"):
            made = order(lines=1)
        verification = verified(both)
        assert found(verification) == {str(made.pk): Kind.UNMARKED}
        mend(both, verification)
        assert clean(verified(both))
        assert own().filter(pk=made.pk).exists()

    def test_an_order_that_came_back_after_its_deletion(self, both: Direction, three: list[Order]) -> None:
        kept = own().get(pk=three[1].pk)
        key = str(three[1].pk)
        PaymentAttempt.objects.filter(order=three[1]).delete()
        three[1].delete()
        settle(both)
        with unseen():
            kept.save(using="own", force_insert=True)
        verification = verified(both)
        assert found(verification) == {key: Kind.EXTRA}
        mend(both, verification)
        assert clean(verified(both))

    def test_a_tombstone_that_was_lost(self, both: Direction, three: list[Order]) -> None:
        key = str(three[1].pk)
        PaymentAttempt.objects.filter(order=three[1]).delete()
        three[1].delete()
        settle(both)
        Applied.objects.using("own").filter(key=key).delete()
        verification = verified(both)
        assert found(verification) == {key: Kind.VERSION}
        mend(both, verification)
        assert clean(verified(both))

    def test_the_finding_says_what_each_side_has(self, both: Direction, three: list[Order]) -> None:
        replica_missing(three[1])
        finding = Finding.objects.get(verification=verified(both))
        assert (finding.owner_gen, finding.replica_gen) == (marks()[finding.key][0],) * 2
        assert finding.bucket == Mark.objects.get(key=finding.key).bucket
        assert finding.detail.startswith(f"owner: version {finding.owner_gen}, ")
        assert finding.detail.endswith(f"replica: version {finding.replica_gen}, no rows")

    def test_a_row_that_makes_no_document_is_explained(self, both: Direction, three: list[Order]) -> None:
        replica_unreadable(three[1])
        finding = Finding.objects.get(verification=verified(both))
        assert "unreadable" in finding.detail
        assert "strange" in finding.detail

    def test_in_buckets_that_the_other_side_owns(self, both: Direction, three: list[Order]) -> None:
        """Ownership is mixed: the order in the middle is the service's, and the shop's copy of it is spoilt."""
        back = Direction(source=both.target, target=both.source)
        theirs = Mark.objects.get(key=str(three[1].pk)).bucket
        become(LEGACY, theirs, State.REPLICA, 2)
        become(OWN, theirs, State.OWNER, 2)
        own().filter(pk=three[1].pk).update(remark="written at the service")
        relay(LEGACY, back)
        assert clean(verified(both))
        with capture_suppressed("default"):
            Order.objects.filter(pk=three[1].pk).update(note="spoilt")
        replica_amount(three[0])
        verification = verified(both)
        assert found(verification) == {str(one.pk): "changed" for one in three[:2]}
        planned = verify.planned_repairs(LEGACY, verify.unrepaired(verification), both.source, both.target)
        assert {one.key: one.side for one in planned} == {str(three[0].pk): "legacy", str(three[1].pk): "extracted"}
        assert mend(both, verification) == 2
        assert clean(verified(both))
        assert Order.objects.get(pk=three[1].pk).note == "written at the service"


class TestRepair:
    def test_a_dry_run_says_what_would_be_done_and_does_nothing(self, both: Direction, three: list[Order]) -> None:
        replica_amount(three[1])
        findings = list(verify.unrepaired(verified(both)))
        before = marks()
        (planned,) = verify.planned_repairs(LEGACY, findings, both.source, both.target)
        assert str(planned) == f"{three[1].pk} (changed): legacy sends it again, above version {planned.gen}"
        assert marks() == before
        assert Finding.objects.filter(repaired_at=None).count() == 1

    def test_a_finding_is_repaired_once(self, both: Direction, three: list[Order]) -> None:
        replica_amount(three[1])
        verification = verified(both)
        assert mend(both, verification) == 1
        assert Finding.objects.filter(repaired_at=None).count() == 0
        assert mend(both, verification) == 0

    def test_nobody_repairs_in_a_bucket_that_nobody_owns(self, both: Direction, three: list[Order]) -> None:
        replica_amount(three[1])
        verification = verified(both)
        become(LEGACY, Mark.objects.get(key=str(three[1].pk)).bucket, State.REPLICA, 2)
        with pytest.raises(NotTheOwner):
            mend(both, verification)
        assert Finding.objects.filter(repaired_at=None).count() == 1

    def test_a_frozen_side_repairs_until_the_other_owns(self, both: Direction, three: list[Order]) -> None:
        replica_amount(three[1])
        verification = verified(both)
        become(LEGACY, Mark.objects.get(key=str(three[1].pk)).bucket, State.FROZEN, 2)
        assert mend(both, verification) == 1
