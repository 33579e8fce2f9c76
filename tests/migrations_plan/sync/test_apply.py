"""What does not fit is parked with its reason, and the rest of the batch is applied; nothing is applied by half."""

import json
from typing import Any

import pytest

from extracted.orders.own_store.names import split_name
from legacy_shop.orders.models import Order
from legacy_shop.payments.models import PaymentAttempt
from migrations_plan.sync import changes, documents
from migrations_plan.sync.documents import canonical, digest_of
from migrations_plan.sync.local import LocalSide
from migrations_plan.sync.messages import Document, Outcome
from migrations_plan.sync.models import Applied, Mark, Ownership, ParkedDocument
from migrations_plan.sync.relay import relay
from migrations_plan.sync.sides import Direction
from tests.migrations_plan.sync.houses import (
    LEGACY,
    OWN,
    applied,
    attempt,
    contents,
    customer,
    order,
    read,
    settle,
    unseen,
)
from tests.own.rows import OwnOrder

pytestmark = [pytest.mark.measured, pytest.mark.django_db(databases=["default", "own"])]


def changed(document: Document, **values: Any) -> Document:
    data = {**document.data, **values.pop("data", {})} if document.data is not None else None
    fields = {name: getattr(document, name) for name in document.__struct_fields__}
    return Document(**{**fields, "data": data, **values})


@pytest.fixture
def three(both: Direction) -> tuple[Document, Document, Document]:
    """Return the documents of three orders, of which a test spoils the one in the middle."""
    for _ in range(3):
        order(lines=2)
    first, second, third = read(both)
    return first, second, third


SPOILED: dict[str, tuple[dict[str, Any], str]] = {
    "a missing field": ({"without": "currency"}, "missing: currency"),
    "an unknown field": ({"data": {"colour": "red"}}, "unknown: colour"),
    "an unknown state": ({"data": {"status": "lost"}}, "holds 'lost'"),
    "text for an amount": ({"data": {"total": "12.00"}}, ""),
    "no moment": ({"data": {"placed_at": "yesterday"}}, "is no moment"),
    "null where there must be something": ({"data": {"number": None}}, "null"),
    "too large for the column": ({"data": {"total": 2**70}}, ""),
    "parts that are no list": ({"data": {"lines": {}}}, "lines is a dict and no list"),
    "a part that is no object": ({"data": {"lines": [1]}}, "is a int and no object"),
    "a version from the future": ({"version": 99}, "Version 99 of the document is newer"),
    "a key of another kind": ({"key": "abc"}, "is no key of orders"),
    "a key spelled differently": ({"key": "007"}, "another spelling"),
}


@pytest.mark.parametrize(("spoil", "reason"), list(SPOILED.values()), ids=list(SPOILED))
def test_one_that_does_not_fit_is_parked_and_the_rest_goes_on(
    both: Direction, three: tuple[Document, Document, Document], spoil: dict[str, Any], reason: str
) -> None:
    first, second, third = three
    spoiled = changed(second, **{name: value for name, value in spoil.items() if name != "without"})
    if "without" in spoil and spoiled.data is not None:
        del spoiled.data[spoil["without"]]
    results = both.target.apply("orders", (first, spoiled, third))
    assert [one.outcome for one in results] == [Outcome.APPLIED, Outcome.PARKED, Outcome.APPLIED]
    assert reason.lower() in results[1].reason.lower()
    assert sorted(contents(OWN)) == sorted([first.key, third.key])
    assert ParkedDocument.objects.using("own").get().reason == results[1].reason


@pytest.mark.parametrize(
    ("spoil", "reason"), [({"bucket": 100}, "There is no bucket 100"), ({"gen": 0}, "both count from 1")]
)
def test_what_cannot_be_meant_is_not_even_kept(
    both: Direction, three: tuple[Document, Document, Document], spoil: dict[str, int], reason: str
) -> None:
    first, second, third = three
    results = both.target.apply("orders", (first, changed(second, **spoil), third))
    assert [one.outcome for one in results] == [Outcome.APPLIED, Outcome.PARKED, Outcome.APPLIED]
    assert reason in results[1].reason


def test_a_unique_value_that_somebody_else_has(both: Direction) -> None:
    order(number="taken")
    settle(both)
    with unseen():
        OwnOrder.objects.using("own").update(reference="other")
    one, other = order(number="other"), order()
    relay(LEGACY, both)
    assert (applied(one.pk), applied(other.pk)) == (0, 1)
    parked = ParkedDocument.objects.using("own").get()
    assert parked.key == str(one.pk)
    assert "IntegrityError" in parked.reason
    assert Mark.objects.get(key=str(one.pk)).reason == parked.reason


def test_what_was_parked_arrives_as_soon_as_it_can(both: Direction) -> None:
    order(number="taken")
    settle(both)
    with unseen():
        OwnOrder.objects.using("own").update(reference="other")
    order(number="other")
    relay(LEGACY, both)
    with unseen():
        OwnOrder.objects.using("own").filter(reference="other").update(reference="taken")
    changes.hurry(LEGACY)
    relay(LEGACY, both)
    assert contents(LEGACY) == contents(OWN)
    assert not ParkedDocument.objects.using("own").exists()


def test_it_waits_longer_each_time(both: Direction) -> None:
    stuck = order()
    (document,) = read(both)
    waits = []
    for _ in range(3):
        mark = Mark.objects.get()
        changes.acknowledge(LEGACY, (), [changes.Held(key=document.key, gen=1, seconds=2.0, reason="no")])
        retry_at = Mark.objects.get().retry_at
        assert retry_at is not None
        waits.append(retry_at - mark.changed_at)
    assert waits == sorted(waits)
    assert waits[2].total_seconds() > 6
    assert read(both) == ()
    Order.objects.filter(pk=stuck.pk).update(note="another version need not wait")
    assert len(read(both)) == 1


def test_an_attempt_that_gives_way_to_another(both: Direction) -> None:
    """The database allows one open charge an order: the old one has to be closed before the new one comes."""
    made = order()
    old = attempt(made)
    settle(both)
    PaymentAttempt.objects.filter(pk=old.pk).update(state="failed")
    attempt(made)
    PaymentAttempt.objects.filter(pk=old.pk).update(id=old.pk + 1_000_000)  # so that it is not the first by its key
    settle(both)
    assert contents(LEGACY) == contents(OWN)


def test_a_parent_that_is_not_there_yet(both: Direction) -> None:
    """Towards the shop, whose tables have foreign keys to what the document is not about."""
    owner = customer()
    made = order(owner, lines=1)
    (document,) = read(both)
    back = LocalSide("legacy", LEGACY)
    Ownership.objects.update(state="replica")
    nobody = changed(document, key="4711", data={"number": "N", "customer": 999_999, "lines": []})
    fine = changed(document, gen=7, data={"note": "changed there"})
    results = back.apply("orders", (nobody, fine))
    assert [one.outcome for one in results] == [Outcome.PARKED, Outcome.APPLIED]
    assert Order.objects.get().note == "changed there"
    assert Order.objects.get().pk == made.pk


def test_a_conversion_of_the_project_that_raises(both: Direction, monkeypatch: pytest.MonkeyPatch) -> None:
    fine, stuck = order(), order(ship_name="Boom")

    def explode(value: str) -> tuple[str | None, str]:
        if value == "Boom":
            raise RuntimeError("boom")
        return split_name(value)

    joined = next(field for field in OWN.root.fields if field.name == "recipient")
    monkeypatch.setitem(vars(joined), "split", explode)
    monkeypatch.setattr(documents, "_forms", {})
    relay(LEGACY, both)
    assert (applied(fine.pk), applied(stuck.pk)) == (1, 0)
    assert "boom" in ParkedDocument.objects.using("own").get().reason


def test_a_row_that_cannot_be_made_into_a_document(both: Direction) -> None:
    fine, odd = order(), order(status=77)
    relay(LEGACY, both)
    assert (applied(fine.pk), applied(odd.pk)) == (1, 0)
    assert "holds 77" in Mark.objects.get(key=str(odd.pk)).reason


def test_several_versions_in_one_batch(both: Direction) -> None:
    made = order(note="first")
    (first,) = read(both)
    Order.objects.update(note="second")
    (second,) = read(both)
    outcomes = [one.outcome for one in both.target.apply("orders", (first, second, first, second))]
    assert outcomes == [Outcome.APPLIED, Outcome.APPLIED, Outcome.SKIPPED, Outcome.SKIPPED]
    assert OwnOrder.objects.using("own").get(pk=made.pk).remark == "second"


def test_the_digest_is_that_of_the_canonical_bytes(both: Direction) -> None:
    order(lines=1, ship_name='Zoë "Z" \u2028 Größe')
    (document,) = read(both)
    both.target.apply("orders", (document,))
    assert document.data is not None
    plain = json.dumps(document.data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert canonical(document.data) == plain
    assert Applied.objects.using("own").get().digest == digest_of(document.data)
    assert contents(OWN)[document.key] == document.data
