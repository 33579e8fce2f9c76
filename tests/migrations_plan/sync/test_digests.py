"""What a side says that it holds is what its rows, its versions and its buckets were at one moment."""

import threading
import uuid
from contextlib import nullcontext
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, connections, models
from django.test.utils import isolate_apps

from legacy_shop.orders.models import Order, OrderLine
from migrations_plan.sync import changes, digests, ownership, scan
from migrations_plan.sync.aggregates import Aggregate, Rows
from migrations_plan.sync.database import capture_suppressed
from migrations_plan.sync.documents import Form, digest_of
from migrations_plan.sync.errors import NotTheOwner, Unloadable
from migrations_plan.sync.fields import Column
from migrations_plan.sync.messages import Again, Boundary, Digest, Entry, Held, State
from migrations_plan.sync.models import Applied, Mark
from migrations_plan.sync.relay import relay
from migrations_plan.sync.sides import Direction
from tests.migrations_plan.sync.houses import LEGACY, OWN, attempt, become, customer, gen, line, marks, order, settle
from tests.own.rows import make_orders

pytestmark = pytest.mark.django_db(databases=["default", "own"])

EVERYTHING = Boundary()


def entries(found: Digest) -> dict[str, Entry]:
    assert found.entries is not None
    by_key = {entry.key: entry for entry in found.entries}
    assert len(by_key) == len(found.entries) == found.count
    return by_key


def held(aggregate: Aggregate, boundary: Boundary = EVERYTHING, keys: tuple[str, ...] = ()) -> dict[str, Entry]:
    return entries(digests.digest(aggregate, boundary, detail=True, keys=keys))


def made_by_form(aggregate: Aggregate) -> dict[str, str]:
    return {str(key): digest_of(data) for key, data in Form(aggregate).read_range(None, None).items()}


@pytest.mark.measured
class TestContents:
    """The fast way to the digest gives what the relay's documents have."""

    def test_orders_of_every_kind(self, both: Direction) -> None:
        owner = customer()
        make_orders(owner, 20, note='"ä\u2028🎁\\')
        make_orders(owner, 3, total=Decimal("-0.05"))
        make_orders(owner, 2, total=Decimal("9999999999.99"))
        settle(both)
        for side in (LEGACY, OWN):
            wanted = made_by_form(side)
            assert len(wanted) == 25
            assert {key: entry.digest for key, entry in held(side).items()} == wanted

    @pytest.mark.parametrize("microsecond", [0, 1, 10, 120_000, 123_456, 999_999])
    @pytest.mark.parametrize("year", [1, 1969, 2026, 9999])
    def test_moments(self, both: Direction, year: int, microsecond: int) -> None:
        order(placed_at=datetime(year, 6, 1, 2, 3, 4, microsecond, tzinfo=UTC))
        assert {key: entry.digest for key, entry in held(LEGACY).items()} == made_by_form(LEGACY)

    def test_an_order_without_parts(self, both: Direction) -> None:
        order()
        assert {key: entry.digest for key, entry in held(LEGACY).items()} == made_by_form(LEGACY)

    def test_rows_are_read_in_blocks(self, both: Direction, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(5):
            order(lines=number)
        monkeypatch.setattr(scan, "BLOCK", 2)
        assert {key: entry.digest for key, entry in held(LEGACY).items()} == made_by_form(LEGACY)

    def test_a_row_that_makes_no_document_says_why_and_spoils_no_other(self, both: Direction) -> None:
        made = [order(lines=1) for _ in range(9)]
        before = held(LEGACY)
        Order.objects.filter(pk=made[4].pk).update(status=77)
        after = held(LEGACY)
        bad = after.pop(str(made[4].pk))
        assert bad.digest is not None
        assert bad.digest.startswith("!")
        assert "77" in bad.digest
        assert after == {key: entry for key, entry in before.items() if key != bad.key}


class TestVersions:
    def test_the_owners_are_its_marks(self, both: Direction) -> None:
        made = order()
        Order.objects.update(note="x")
        relay(LEGACY, both)
        Order.objects.update(note="y")
        entry = held(LEGACY)[str(made.pk)]
        assert (entry.gen, entry.acked, entry.bucket) == (3, 2, Mark.objects.get().bucket)

    def test_a_frozen_bucket_tells_its_marks(self, both: Direction) -> None:
        made = order()
        become(LEGACY, Mark.objects.get().bucket, State.FROZEN, 2)
        assert held(LEGACY)[str(made.pk)].gen == 1

    def test_a_replicas_are_what_it_has_applied(self, both: Direction) -> None:
        made = order()
        settle(both)
        entry = held(OWN)[str(made.pk)]
        assert (entry.gen, entry.acked, entry.bucket) == (1, None, Mark.objects.get().bucket)

    def test_a_replicas_own_marks_say_nothing(self, both: Direction) -> None:
        made = order()
        settle(both)
        mark = Mark.objects.get()
        Mark.objects.using("own").create(
            aggregate="orders", key=mark.key, bucket=mark.bucket, gen=9, changed_at=mark.changed_at
        )
        become(OWN, (mark.bucket + 1) % 100, State.OWNER, 1)  # so that it looks at marks at all
        assert held(OWN)[str(made.pk)].gen == 1

    def test_an_applied_version_of_zero_is_none(self, both: Direction) -> None:
        made = order()
        settle(both)
        Applied.objects.using("own").update(gen=0)
        assert held(OWN)[str(made.pk)].gen is None

    def test_an_order_that_is_gone_keeps_its_version(self, both: Direction) -> None:
        made = order()
        key = str(made.pk)
        settle(both)
        made.delete()
        settle(both)
        assert (held(LEGACY)[key].gen, held(LEGACY)[key].digest) == (2, None)
        assert (held(OWN)[key].gen, held(OWN)[key].digest) == (2, None)

    def test_what_there_is_nothing_to_say_of_has_no_entry(self, both: Direction) -> None:
        Applied.objects.using("own").create(aggregate="orders", key="5", bucket=0)
        assert held(OWN) == {}

    def test_a_row_without_a_mark(self, both: Direction) -> None:
        with capture_suppressed("default"):
            made = order()
        entry = held(LEGACY)[str(made.pk)]
        settle(both)
        assert (entry.gen, entry.bucket) == (None, digests.bucket_of(LEGACY, made.customer_id))

    def test_another_aggregates_marks_are_not_ours(self, both: Direction) -> None:
        order()
        Mark.objects.update(aggregate="users")
        assert [entry.gen for entry in held(LEGACY).values()] == [None]


class TestRanges:
    KEYS = (1, 2, 9, 10, 11, 99, 100, 101, 1000, 123_456_789_012)

    @pytest.fixture
    def numbered(self, both: Direction) -> dict[str, Entry]:
        """Make an order with each key, half of them gone again."""
        owner = customer()
        for key in self.KEYS:
            order(owner, id=key)
        Order.objects.filter(pk__in=self.KEYS[::2]).delete()
        return held(LEGACY)

    @pytest.mark.parametrize("after", [None, 0, 2, 9, 10, 50, 100, 2000])
    @pytest.mark.parametrize("until", [None, 0, 2, 9, 10, 50, 100, 2000])
    def test_numbers_are_ordered_as_numbers(
        self, numbered: dict[str, Entry], after: int | None, until: int | None
    ) -> None:
        boundary = Boundary(after=None if after is None else str(after), until=None if until is None else str(until))
        wanted = {str(k) for k in self.KEYS if (after is None or k > after) and (until is None or k <= until)}
        assert held(LEGACY, boundary) == {key: entry for key, entry in numbered.items() if key in wanted}

    def test_keys_give_what_the_range_gives(self, numbered: dict[str, Entry]) -> None:
        keys = tuple(str(key) for key in self.KEYS)
        by_range = digests.digest(LEGACY, EVERYTHING, detail=False)
        by_keys = digests.digest(LEGACY, EVERYTHING, detail=False, keys=(*keys, "77"))
        assert (by_keys.sum, by_keys.count) == (by_range.sum, by_range.count)
        assert held(LEGACY, keys=("9", "10")) == {key: numbered[key] for key in ("9", "10")}

    def test_another_spelling_of_a_key_is_refused(self, both: Direction) -> None:
        with pytest.raises(Unloadable):
            digests.digest(LEGACY, EVERYTHING, detail=True, keys=("007",))

    @pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
    def test_boundaries_cover_every_key_once(self, numbered: dict[str, Entry], size: int) -> None:
        cut = digests.boundaries(LEGACY, size)
        assert (cut[0].after, cut[-1].until) == (None, None)
        assert [one.until for one in cut[:-1]] == [one.after for one in cut[1:]]
        found = [held(LEGACY, boundary) for boundary in cut]
        assert {key: entry for one in found for key, entry in one.items()} == numbered
        assert sum(len(one) for one in found) == len(numbered)
        assert max(sum(entry.digest is not None for entry in one.values()) for one in found) <= size

    def test_no_keys_make_one_range(self, both: Direction) -> None:
        assert digests.boundaries(LEGACY, 10) == (Boundary(),)


def table(kind: str, **fields: Any) -> tuple[Aggregate, type[models.Model]]:
    """Make an aggregate over a table of its own, which goes when the test is rolled back."""
    with isolate_apps("tests"):
        thing: type[models.Model] = type(
            "Thing",
            (models.Model,),
            {
                "__module__": __name__,
                "Meta": type("Meta", (), {"app_label": "tests", "db_table": "test_things"}),
                "text": models.CharField(max_length=40, default=""),
                **fields,
            },
        )
    rows = Rows(model="tests.Thing", fields=(Column("text"),))
    vars(rows)["model_class"] = thing
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE test_things (id {kind} PRIMARY KEY, text varchar(40) NOT NULL)")
    return Aggregate(name="things", root=rows, partition_key="id"), thing


class TestKeysOfOtherKinds:
    def check(self, aggregate: Aggregate, thing: type[models.Model], keys: list[Any]) -> None:
        """Compare each range between two keys, and the cuts, with what the order of Python's values gives."""
        thing._base_manager.bulk_create(thing(pk=key, text=str(key)) for key in keys)
        ends = [None, *keys]
        for after in ends:
            for until in ends:
                wanted = {str(k) for k in keys if (after is None or k > after) and (until is None or k <= until)}
                boundary = Boundary(
                    after=None if after is None else str(after), until=None if until is None else str(until)
                )
                assert set(held(aggregate, boundary)) == wanted, (after, until)
        cuts = [one.until for one in digests.boundaries(aggregate, 2)[:-1]]
        assert cuts == [str(key) for key in sorted(keys)[1::2]]

    def test_texts_by_code_point(self) -> None:
        # A collation that knows German puts a, Ä, B, z in this order; code points put B, a, z, Ä.
        collation = _collation_that_differs()
        things, thing = table(f"varchar(20) {collation}", id=models.CharField(max_length=20, primary_key=True))
        self.check(things, thing, ["a", "B", "z", "Ä", "_", "10", "9", "a b", "🎁"])

    def test_uuids_by_byte(self) -> None:
        kind = "uuid" if connection.vendor == "postgresql" else "char(32)"
        things, thing = table(kind, id=models.UUIDField(primary_key=True))
        keys = [uuid.UUID(int=value << 96) for value in (1, 0x0A, 0x9F, 0xA0, 0x80000000, 0xFFFFFFFF)]
        self.check(things, thing, keys)

    def test_marks_of_texts_that_have_no_rows(self, captured: None) -> None:
        things, _ = table("varchar(20)", id=models.CharField(max_length=20, primary_key=True))
        ownership.establish(things)
        for key in ("a", "B", "Ä"):
            Mark.objects.create(aggregate="things", key=key, bucket=1, changed_at=datetime.now(UTC))
        assert set(held(things, Boundary(after="B", until="a"))) == {"a"}
        assert set(held(things, Boundary(after="a"))) == {"Ä"}


def _collation_that_differs() -> str:
    if connection.vendor != "postgresql":
        return ""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_collation WHERE collname = 'de-x-icu'")
        return 'COLLATE "de-x-icu"' if cursor.fetchone() else ""


class TestSums:
    def test_the_order_of_lines_does_not_count(self) -> None:
        lines = [f"{key}|{key}|{key:032x}\n" for key in range(5)]
        assert digests.sum_of(lines) == digests.sum_of(lines[::-1])
        assert digests.sum_of(lines) != digests.sum_of(lines[1:])

    def test_as_the_protocol_spells_it(self, both: Direction) -> None:
        first, second = order(lines=1), order()
        second_key = str(second.pk)
        second.delete()
        found = held(LEGACY)
        lines = [f"{first.pk}|{gen(first)}|{found[str(first.pk)].digest}\n", f"{second_key}|2|\n"]
        assert digests.digest(LEGACY, EVERYTHING, detail=False).sum == digests.sum_of(lines)
        assert digests.sum_of([]) == "e3b0c44298fc1c149afbf4c8996fb924"

    def test_detail_changes_nothing_about_it(self, both: Direction) -> None:
        order(lines=2)
        brief, long = (digests.digest(LEGACY, EVERYTHING, detail=detail) for detail in (False, True))
        assert (brief.sum, brief.count, brief.entries) == (long.sum, long.count, None)

    def test_both_sides_have_the_same_when_nothing_is_on_its_way(self, both: Direction) -> None:
        make_orders(customer(), 8)
        settle(both)
        one, two = (digests.digest(side, EVERYTHING, detail=False) for side in (LEGACY, OWN))
        assert (one.sum, one.count) == (two.sum, two.count)

    @pytest.mark.parametrize("change", ["contents", "part", "version"])
    def test_whatever_differs_changes_it(self, both: Direction, change: str) -> None:
        one = order(lines=1)
        before = digests.digest(LEGACY, EVERYTHING, detail=False).sum
        with capture_suppressed("default"):
            if change == "contents":
                Order.objects.filter(pk=one.pk).update(total=Decimal("0.01"))
            elif change == "part":
                OrderLine.objects.filter(order=one).delete()
            else:
                Mark.objects.filter(key=str(one.pk)).update(gen=3)
        assert digests.digest(LEGACY, EVERYTHING, detail=False).sum != before


class TestRepair:
    def test_an_order_gets_a_version_above_both_sides(self, both: Direction) -> None:
        made, ahead = order(), order()
        settle(both)
        again = [Again(key=str(made.pk), gen=1, bucket=0), Again(key=str(ahead.pk), gen=7, bucket=0)]
        assert digests.repair(LEGACY, again) == 2
        assert marks() == {str(made.pk): (2, 1), str(ahead.pk): (8, 1)}

    def test_what_has_no_mark_gets_one(self, both: Direction) -> None:
        with capture_suppressed("default"):
            made = order()
        digests.repair(LEGACY, [Again(key=str(made.pk), gen=4, bucket=0)])
        mark = Mark.objects.get()
        assert (mark.gen, mark.acked, mark.deleted) == (5, 0, False)
        assert mark.bucket == digests.bucket_of(LEGACY, made.customer_id)

    def test_what_is_not_there_at_all_is_marked_as_deleted_in_the_bucket_given(self, both: Direction) -> None:
        digests.repair(LEGACY, [Again(key="5", gen=0, bucket=17)])
        mark = Mark.objects.get()
        assert (mark.gen, mark.bucket, mark.deleted) == (1, 17, True)

    def test_the_highest_version_given_counts(self, both: Direction) -> None:
        digests.repair(LEGACY, [Again(key="5", gen=gen, bucket=17) for gen in (3, 9, 6)])
        assert marks() == {"5": (10, 0)}

    def test_it_is_due_at_once(self, both: Direction) -> None:
        made = order()
        changes.acknowledge(LEGACY, (), (Held(key=str(made.pk), gen=1, seconds=600, reason="parked"),))
        digests.repair(LEGACY, [Again(key=str(made.pk), gen=0, bucket=0)])
        mark = Mark.objects.get()
        assert (mark.retry_at, mark.tries, mark.reason) == (None, 0, "")

    def test_a_frozen_bucket_is_mended(self, both: Direction) -> None:
        made = order()
        become(LEGACY, Mark.objects.get().bucket, State.FROZEN, 2)
        digests.repair(LEGACY, [Again(key=str(made.pk), gen=0, bucket=0)])
        assert gen(made) == 2

    def test_a_replica_refuses_and_does_nothing_of_the_chunk(self, both: Direction) -> None:
        mine, theirs = order(), order()
        become(LEGACY, Mark.objects.get(key=str(theirs.pk)).bucket, State.REPLICA, 2)
        before = marks()
        with pytest.raises(NotTheOwner):
            digests.repair(LEGACY, [Again(key=str(one.pk), gen=0, bucket=0) for one in (mine, theirs)])
        assert marks() == before

    def test_more_than_a_chunk(self, both: Direction, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(digests, "IN_CHUNK", 2)
        assert digests.repair(LEGACY, [Again(key=str(key), gen=0, bucket=key) for key in range(1, 6)]) == 5
        assert len(marks()) == 5

    @pytest.mark.parametrize("rule", [True, False])
    def test_never_from_a_replica(self, both: Direction, monkeypatch: pytest.MonkeyPatch, rule: bool) -> None:
        """A replica's mark is sent by nobody: at rest something would be marked for ever."""
        made = order()
        settle(both)
        if not rule:
            monkeypatch.setattr(digests, "require_sending", lambda aggregate, buckets: None)
        back = Direction(source=both.target, target=both.source)
        with pytest.raises(NotTheOwner) if rule else nullcontext():
            digests.repair(OWN, [Again(key=str(made.pk), gen=1, bucket=0)])
        relay(LEGACY, both)
        relay(LEGACY, back)
        at_rest = not any(gen > acked for gen, acked in (*marks().values(), *marks(OWN).values()))
        assert at_rest is rule


@pytest.mark.django_db(databases=["default", "own"], transaction=True)
class TestSnapshot:
    @pytest.mark.parametrize("rule", [True, False])
    def test_rows_and_versions_are_of_one_moment(
        self, both: Direction, monkeypatch: pytest.MonkeyPatch, rule: bool
    ) -> None:
        """An order is changed after the versions were read and before the rows are."""
        made = order(lines=1)
        attempt(made)
        settle(both)
        before = held(LEGACY)
        if not rule:
            monkeypatch.setattr(digests, "snapshot", lambda alias: nullcontext())
        read = digests._versions

        def then_written(*arguments: Any) -> Any:
            versions = read(*arguments)
            in_a_thread(lambda: [line(made), Order.objects.update(note="new")])
            return versions

        monkeypatch.setattr(digests, "_versions", then_written)
        assert (held(LEGACY) == before) is rule


def in_a_thread(work: Any) -> None:
    """Do some work with connections of its own, to the end."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # shown to the test
            failures.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not failures
