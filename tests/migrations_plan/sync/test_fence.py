"""What has left is not written here any more, whoever tries and however; and nobody can overlook the refusal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from django.contrib.admin import ModelAdmin
from django.contrib.admin.sites import site
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, OperationalError, connection, connections, transaction
from django.test import RequestFactory

from legacy_shop.orders.models import Order, OrderLine
from migrations_plan.sync import database, operate, ownership
from migrations_plan.sync.buckets import bucket
from migrations_plan.sync.capture import install
from migrations_plan.sync.errors import SyncError
from migrations_plan.sync.messages import State
from migrations_plan.sync.models import Mark, Ownership
from migrations_plan.sync.sides import Direction
from router import fences
from router.fences import NotOwner
from tests.migrations_plan.sync.houses import LEGACY, OWN, attempt, become, customer, line, order, unsaved
from tests.migrations_plan.sync.test_concurrency import Gate, in_thread

pytestmark = [pytest.mark.measured, pytest.mark.django_db(databases=["default", "own"])]


def bucket_of(of: Order | User) -> int:
    return bucket("orders", of.customer_id if isinstance(of, Order) else of.pk)


@pytest.fixture
def gone(both: Direction) -> Order:
    """Make an order whose bucket the service owns."""
    made = order(lines=2, note="old")
    attempt(made)
    become(LEGACY, bucket_of(made), State.REPLICA, 2)
    return made


@pytest.fixture
def here(gone: Order) -> Order:
    """Make an order in a bucket that the shop owns."""
    while True:
        owner = customer()
        if bucket_of(owner) != bucket_of(gone):
            return order(owner, note="old")


# --- every way to write ------------------------------------------------------------------------------------------
def save(of: Order) -> None:
    of.note = "new"
    of.save()


def update(of: Order) -> None:
    Order.objects.filter(pk=of.pk).update(note="new")


def raw_sql(of: Order) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orders_order SET note = 'new' WHERE id = %s", [of.pk])


def bulk_update(of: Order) -> None:
    of.note = "new"
    Order.objects.bulk_update([of], ["note"])


def bulk_create(of: Order) -> None:
    Order.objects.bulk_create([unsaved(of.customer)])


def upsert(of: Order) -> None:
    of.note = "new"
    Order.objects.bulk_create([of], update_conflicts=True, unique_fields=["id"], update_fields=["note"])


def create(of: Order) -> None:
    order(of.customer)


def get_or_create(of: Order) -> None:
    Order.objects.get_or_create(number="brand new", defaults={**vars_of(of)})


def delete(of: Order) -> None:
    OrderLine.objects.filter(order=of).delete()


def delete_by_sql(of: Order) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM payments_paymentattempt WHERE order_id = %s", [of.pk])


def part(of: Order) -> None:
    OrderLine.objects.filter(order=of).update(quantity=9)


def new_part(of: Order) -> None:
    line(of)


def admin(of: Order) -> None:
    of.note = "new"
    ModelAdmin(Order, site).save_model(RequestFactory().post("/"), of, form=None, change=True)


def vars_of(of: Order) -> dict[str, object]:
    fresh = unsaved(of.customer)
    return {
        field.attname: getattr(fresh, field.attname)
        for field in Order._meta.concrete_fields
        if field.name not in {"id", "number"}
    }


WAYS: tuple[Callable[[Order], None], ...] = (
    save,
    update,
    raw_sql,
    bulk_update,
    bulk_create,
    upsert,
    create,
    get_or_create,
    delete,
    delete_by_sql,
    part,
    new_part,
    admin,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
class TestRefused:
    def test_where_the_bucket_has_left(self, gone: Order, way: Callable[[Order], None]) -> None:
        before = everything()
        with pytest.raises(NotOwner, match="owns this bucket") as refused, transaction.atomic():
            way(gone)
        assert (refused.value.aggregate, refused.value.state) == ("orders", "replica")
        assert refused.value.bucket in {bucket_of(gone), None}
        assert "sync status orders" in str(refused.value)
        assert everything() == before

    def test_while_it_changes_hands(self, gone: Order, way: Callable[[Order], None]) -> None:
        become(LEGACY, bucket_of(gone), State.FROZEN, 2)
        with pytest.raises(NotOwner, match="changing hands"), transaction.atomic():
            way(gone)

    def test_without_the_fence_it_would_be_written(self, gone: Order, way: Callable[[Order], None]) -> None:
        install.remove(LEGACY)
        before = everything()
        way(gone)
        assert everything() != before


def everything() -> list[object]:
    tables = ("orders_order", "orders_orderline", "payments_paymentattempt")
    found: list[object] = list(Mark.objects.order_by("key").values_list("key", "gen"))
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"SELECT * FROM {table} ORDER BY id")
            found.extend(cursor.fetchall())
    return found


# --- what else it has to do ----------------------------------------------------------------------------------------
class TestWhole:
    def test_a_statement_over_several_buckets_is_refused_whole(self, gone: Order, here: Order) -> None:
        with pytest.raises(NotOwner), transaction.atomic():
            Order.objects.update(note="new")
        assert set(Order.objects.values_list("note", flat=True)) == {"old"}

    def test_what_is_owned_here_is_written(self, gone: Order, here: Order) -> None:
        Order.objects.filter(pk=here.pk).update(note="new")
        assert Order.objects.get(pk=here.pk).note == "new"

    def test_an_order_cannot_be_given_to_somebody_whose_orders_have_left(self, gone: Order, here: Order) -> None:
        for one, owner in ((here, gone.customer_id), (gone, here.customer_id)):
            with pytest.raises(NotOwner), transaction.atomic():
                Order.objects.filter(pk=one.pk).update(customer_id=owner)

    def test_a_line_cannot_be_moved_across(self, gone: Order, here: Order) -> None:
        with pytest.raises(NotOwner), transaction.atomic():
            OrderLine.objects.filter(order=gone).update(order_id=here.pk)

    def test_a_bucket_that_nobody_has_written_down_is_nobody_s(self, gone: Order, here: Order) -> None:
        Ownership.objects.filter(bucket=bucket_of(here)).delete()
        with pytest.raises(NotOwner, match="nobody has written down"), transaction.atomic():
            update(here)

    def test_applying_is_exempt(self, gone: Order) -> None:
        with transaction.atomic(), database.capture_suppressed("default"):
            update(gone)
        assert Order.objects.get(pk=gone.pk).note == "new"

    @pytest.mark.postgres
    def test_truncate(self, gone: Order) -> None:
        database.check_references_at_once("default")
        with pytest.raises(NotOwner), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("TRUNCATE orders_order CASCADE")
        assert Order.objects.exists()

    @pytest.mark.postgres
    def test_the_refusal_tells_which_bucket(self, gone: Order) -> None:
        with pytest.raises(NotOwner) as refused, transaction.atomic():
            update(gone)
        assert refused.value.bucket == bucket_of(gone)


def test_the_triggers_stay_while_a_bucket_is_elsewhere(gone: Order) -> None:
    with pytest.raises(SyncError, match="Bring them home first"):
        operate.uninstall("orders")
    become(LEGACY, bucket_of(gone), State.OWNER, 3)
    assert operate.uninstall("orders")


class TestNotOverlooked:
    def go_on_regardless(self, gone: Order, here: Order) -> None:
        with transaction.atomic():
            Order.objects.filter(pk=here.pk).update(note="half")
            with suppress(DatabaseError):
                update(gone)
            Order.objects.filter(pk=here.pk).update(note="whole")

    def test_it_is_no_integrity_error(self, gone: Order) -> None:
        """Code that expects a duplicate, and goes on without it, must not take a refusal for one."""
        with pytest.raises(NotOwner) as refused, transaction.atomic(), suppress(IntegrityError):
            update(gone)
        assert isinstance(refused.value, DatabaseError)
        assert not isinstance(refused.value, IntegrityError)

    def test_it_is_recorded_although_it_is_caught(self, gone: Order) -> None:
        with fences.watched() as met, suppress(DatabaseError), transaction.atomic():
            update(gone)
        assert [one.aggregate for one in met] == ["orders"]

    def test_the_rest_of_its_transaction_is_not_committed(self, gone: Order, here: Order) -> None:
        with pytest.raises(transaction.TransactionManagementError):
            self.go_on_regardless(gone, here)
        assert Order.objects.get(pk=here.pk).note == "old"


# --- what only real transactions show --------------------------------------------------------------------------------
@pytest.mark.postgres
@pytest.mark.django_db(databases=["default", "own"], transaction=True)
class TestTransactions:
    @pytest.fixture
    def made(self, both: Direction) -> Iterator[Order]:
        made = order(note="old")
        yield made
        install.remove(LEGACY)
        install.remove(OWN)

    def freeze(self, made: Order) -> bool:
        return ownership.change(LEGACY, bucket_of(made), (State.OWNER, 1), (State.FROZEN, 2))

    @contextmanager
    def writing(self, made: Order) -> Iterator[Gate]:
        """Hold a client's transaction open that has written in the bucket."""
        gate = Gate()

        def write() -> None:
            with transaction.atomic():
                update(made)
                gate.hold()

        with in_thread(write):
            assert gate.reached.wait(20)
            yield gate
            gate.open.set()

    def test_a_change_of_hands_waits_for_who_has_written(self, made: Order) -> None:
        with self.writing(made), pytest.raises(OperationalError):
            self.freeze(made)
        assert self.freeze(made)
        assert Order.objects.get().note == "new"

    def test_without_waiting_a_write_is_committed_after_the_bucket_has_left(
        self, made: Order, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ownership, "lock_exclusive", lambda *args, **named: None)
        with self.writing(made):
            assert self.freeze(made)
            assert Order.objects.get().note == "old"  # as whoever drains it sees it
        assert Order.objects.get().note == "new"

    def repeatable(self, made: Order) -> str:
        """Write in a transaction whose snapshot is older than the freezing; return what became of it."""
        own = connections.create_connection("default")
        try:
            with own.cursor() as cursor:
                cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                cursor.execute("SELECT count(*) FROM strangler_sync_ownership")
                assert self.freeze(made)
                try:
                    cursor.execute("UPDATE orders_order SET note = 'new' WHERE id = %s", [made.pk])
                    cursor.execute("COMMIT")
                except DatabaseError as error:
                    cursor.execute("ROLLBACK")
                    return type(error).__name__
            return "committed"
        finally:
            own.close()

    def test_an_older_snapshot_does_not_get_through(self, made: Order) -> None:
        assert self.repeatable(made) in {"NotOwner", "OperationalError"}
        assert Order.objects.get().note == "old"

    def test_without_locking_the_row_it_does(self, made: Order) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT p.oid::regprocedure::text, pg_get_functiondef(p.oid) FROM pg_proc p "
                "WHERE p.proname LIKE 'strangler_capture_orders_orders_order_update%'"
            )
            for _, text in cursor.fetchall():
                cursor.execute(text.replace("FOR SHARE", ""))
        assert self.repeatable(made) == "committed"
