"""Each rule of relay, apply, backfill and marks is necessary: what it keeps up breaks as soon as it is taken out.

A scenario plays one interleaving, step by step, and says whether both sides are equal in the end. It has to hold with
the rule, and has to fail without it. The switch is here, never in the product.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from legacy_shop.orders.models import Order
from migrations_plan.sync import apply, backfill, changes, database
from migrations_plan.sync.capture import install, postgresql, sqlite
from migrations_plan.sync.messages import Document, Outcome, Result, Sent, State
from migrations_plan.sync.models import Applied, Mark
from migrations_plan.sync.sides import Direction
from tests.migrations_plan.sync.houses import (
    LEGACY,
    OWN,
    applied,
    become,
    contents,
    deliver,
    gen,
    line,
    marks,
    order,
    read,
    settle,
    unseen,
)
from tests.own.rows import OwnOrder

pytestmark = pytest.mark.django_db(databases=["default", "own"])

Patch = pytest.MonkeyPatch


def equal() -> bool:
    return contents(LEGACY) == contents(OWN)


def note(of: Order, text: str) -> None:
    Order.objects.filter(pk=of.pk).update(note=text)


def remark(of: Order) -> str:
    return OwnOrder.objects.using("own").values_list("remark", flat=True).get(pk=of.pk)


# --- scenarios -------------------------------------------------------------------------------------------------
def a_late_message(way: Direction) -> bool:
    made = order(note="first")
    (first,) = read(way)
    note(made, "second")
    (second,) = read(way)
    deliver(way, second)
    deliver(way, first)
    return remark(made) == "second" and applied(made.pk) == second.gen


def nothing_comes_back(way: Direction) -> bool:
    order(lines=1)
    relay_once(way)
    assert equal()
    return marks(OWN) == {}


def a_message_after_the_commit_point(way: Direction) -> bool:
    """The old owner was frozen at epoch 2 when the message was read; it arrives when the new one owns at epoch 2."""
    made = order(note="old")
    settle(way)
    mark = Mark.objects.get()
    become(LEGACY, mark.bucket, State.FROZEN, 2)
    Mark.objects.update(gen=mark.gen + 1)  # a repair, after the drain was looked at
    (late,) = read(way)
    become(OWN, mark.bucket, State.OWNER, 2)
    OwnOrder.objects.using("own").filter(pk=made.pk).update(remark="new")
    deliver(way, late)
    return remark(made) == "new"


def a_message_from_before_two_changes_of_hands(way: Direction) -> bool:
    made = order(note="old")
    settle(way)
    mark = Mark.objects.get()
    Mark.objects.update(gen=mark.gen + 1)
    (late,) = read(way)
    # Over to the service and back: what it wrote came home by sync, and everything counts as sent.
    with unseen():
        OwnOrder.objects.using("own").filter(pk=made.pk).update(remark="new")
    with database.capture_suppressed("default"):
        note(made, "new")
    Mark.objects.update(acked=mark.gen + 1)
    become(LEGACY, mark.bucket, State.OWNER, 3)
    become(OWN, mark.bucket, State.REPLICA, 3)
    deliver(way, late)
    settle(way)
    return equal()


def a_refused_message(way: Direction) -> bool:
    order()
    bucket = Mark.objects.get().bucket
    become(OWN, bucket, State.FROZEN, 1)
    relay_once(way)
    become(OWN, bucket, State.REPLICA, 1)
    settle(way)
    return equal()


def a_change_between_sending_and_acknowledging(way: Direction) -> bool:
    made = order(note="first")
    documents = read(way)
    deliver(way, *documents)
    note(made, "second")
    way.source.ack("orders", tuple(Sent(key=one.key, gen=one.gen) for one in documents), ())
    settle(way)
    return equal()


def a_late_upsert_after_a_delete(way: Direction) -> bool:
    made = order()
    note(made, "still there")
    (late,) = read(way)
    made.delete()
    settle(way)
    deliver(way, late)
    return equal()


def the_same_key_again(way: Direction) -> bool:
    made = order(note="first")
    key, owner = made.pk, made.customer
    settle(way)
    made.delete()
    settle(way)
    order(owner, id=key, note="second")
    settle(way)
    return equal()


def a_mark_at_a_replica(way: Direction) -> bool:
    made = order(note="old")
    settle(way)
    mark = Mark.objects.get()
    Mark.objects.update(gen=mark.gen + 1)
    become(LEGACY, mark.bucket, State.REPLICA, 2)
    return read(way) == () and remark(made) == "old"


def a_backfill_after_changes(way: Direction) -> bool:
    made = order(note="first")
    for text in ("second", "third", "fourth"):
        note(made, text)
    settle(way)
    backfill.start(LEGACY)
    backfill.run(LEGACY, progress=lambda done: None, wait=lambda seconds: None)
    note(made, "fifth")
    settle(way)
    return equal()


def one_that_cannot_be_applied(way: Direction) -> bool:
    order()
    settle(way)
    foreign = OwnOrder.objects.using("own").get()
    stuck, fine = order(number="taken"), order()
    foreign.pk, foreign.reference = 4711, "taken"
    with unseen():
        foreign.save(using="own", force_insert=True)
    relay_once(way)
    return applied(fine.pk) == gen(fine) and not applied(stuck.pk) and gen(stuck) == 1


def relay_once(way: Direction) -> None:
    from migrations_plan.sync import relay

    relay.relay(LEGACY, way)


# --- what taking a rule out means --------------------------------------------------------------------------------
def without_skipping(patch: Patch) -> None:
    patch.setattr(apply, "_skipped", lambda document, applied: None)


def without_suppression(patch: Patch) -> None:
    """What is not suppressed meets the service's fence before it could be marked, so that is taken down as well."""
    patch.setattr(sqlite.Writer, "_fence", lambda self, selected: "")
    patch.setattr(postgresql, "FUNCTION", postgresql.FUNCTION.replace("owned < cardinality(wanted)", "false"))
    assert install.put(OWN)
    patch.setattr(database, "capture_suppressed", lambda alias: nullcontext())


def without_state_guard(patch: Patch) -> None:
    guard = apply._refusal

    def only_epoch(document: Document, state: Any) -> Result | None:
        found = guard(document, state)
        return None if found is not None and found.outcome is Outcome.REFUSED_STATE else found

    patch.setattr(apply, "_refusal", only_epoch)


def without_epoch_guard(patch: Patch) -> None:
    guard = apply._refusal

    def only_state(document: Document, state: Any) -> Result | None:
        found = guard(document, state)
        return None if found is not None and found.outcome is Outcome.REFUSED_EPOCH else found

    patch.setattr(apply, "_refusal", only_state)


def acknowledging_every_answer(patch: Patch) -> None:
    patch.setattr(Outcome, "settles", property(lambda self: True))


def acknowledging_the_present_version(patch: Patch) -> None:
    def all_of_it(aggregate: Any, sent: Any) -> None:
        from django.db.models import F

        Mark.objects.filter(key__in=[one.key for one in sent]).update(acked=F("gen"))

    patch.setattr(changes, "_note_sent", all_of_it)


def forgetting_versions_of_the_deleted(patch: Patch) -> None:
    remember = apply._remember

    def forgetful(aggregate: Any, done: Any) -> None:
        remember(aggregate, done)
        Applied.objects.using(aggregate.alias).filter(deleted=True).delete()

    patch.setattr(apply, "_remember", forgetful)


def forgetting_marks_of_the_deleted(patch: Patch) -> None:
    note_sent = changes._note_sent

    def forgetful(aggregate: Any, sent: Any) -> None:
        note_sent(aggregate, sent)
        Mark.objects.filter(deleted=True).delete()

    patch.setattr(changes, "_note_sent", forgetful)


def sending_from_a_replica(patch: Patch) -> None:
    patch.setattr(changes, "SENDING", frozenset(State))


def overwriting_marks(patch: Patch) -> None:
    patch.setattr(backfill, "KEEP", "DO UPDATE SET gen = 1, acked = 0")


def without_savepoints(patch: Patch) -> None:
    write = apply._write_all

    def all_or_nothing(aggregate: Any, wanted: Any) -> dict[int, str]:
        try:
            with apply.transaction.atomic(using=aggregate.alias):
                write(apply.Writer(aggregate), wanted)
        except apply.TROUBLE as error:
            return {number: str(error) for number in range(len(wanted))}
        return {}

    patch.setattr(apply, "_write", all_or_nothing)


RULES: list[tuple[Callable[[Direction], bool], Callable[[Patch], None]]] = [
    (a_late_message, without_skipping),
    (nothing_comes_back, without_suppression),
    (a_message_after_the_commit_point, without_state_guard),
    (a_message_from_before_two_changes_of_hands, without_epoch_guard),
    (a_refused_message, acknowledging_every_answer),
    (a_change_between_sending_and_acknowledging, acknowledging_the_present_version),
    (a_late_upsert_after_a_delete, forgetting_versions_of_the_deleted),
    (the_same_key_again, forgetting_marks_of_the_deleted),
    (a_mark_at_a_replica, sending_from_a_replica),
    (a_backfill_after_changes, overwriting_marks),
    (one_that_cannot_be_applied, without_savepoints),
]
names = [scenario.__name__ for scenario, _ in RULES]


@pytest.mark.parametrize("scenario", [scenario for scenario, _ in RULES], ids=names)
def test_it_holds(both: Direction, scenario: Callable[[Direction], bool]) -> None:
    assert scenario(both)


@pytest.mark.parametrize(("scenario", "without"), RULES, ids=names)
def test_it_breaks_without_the_rule(
    both: Direction, monkeypatch: Patch, scenario: Callable[[Direction], bool], without: Callable[[Patch], None]
) -> None:
    without(monkeypatch)
    assert not scenario(both)


def test_a_whole_document_arrives(both: Direction) -> None:
    made = order(lines=2, note="x")
    settle(both)
    assert equal()
    assert contents(OWN)[str(made.pk)]["note"] == "x"
    assert len(contents(OWN)[str(made.pk)]["lines"]) == 2


def test_parts_that_are_gone_go(both: Direction) -> None:
    made = order(lines=3)
    settle(both)
    made.lines.first().delete()  # type: ignore[union-attr]
    line(made)
    settle(both)
    assert equal()


def test_a_part_that_moved_to_another_order(both: Direction) -> None:
    one, other = order(lines=2), order()
    settle(both)
    one.lines.update(order=other)
    settle(both)
    assert equal()
