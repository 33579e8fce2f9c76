"""Whoever writes, however: each changed order is marked. Tried on the shop's tables, on both databases."""

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.test import Client

from legacy_shop.orders.models import Order, OrderLine
from legacy_shop.payments.models import PaymentAttempt
from migrations_plan.sync import backfill, database
from migrations_plan.sync.buckets import bucket
from migrations_plan.sync.capture import install, upkeep
from migrations_plan.sync.capture.triggers import Health
from migrations_plan.sync.models import Applying, Capture, Mark, Ownership
from tests.migrations_plan.sync.houses import LEGACY, attempt, customer, gen, line, marks, order, product, unsaved

pytestmark = [pytest.mark.measured, pytest.mark.usefixtures("captured")]


def sql(statement: str, *parameters: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


class TestWaysToWrite:
    def test_create(self) -> None:
        made = order()
        assert marks() == {str(made.pk): (1, 0)}

    def test_the_bucket_is_the_owners(self) -> None:
        made = order()
        assert Mark.objects.get().bucket == bucket("orders", made.customer_id)

    def test_save(self) -> None:
        made = order()
        made.note = "ring twice"
        made.save()
        assert gen(made) == 2

    def test_update(self) -> None:
        made, other = order(), order()
        Order.objects.filter(pk=made.pk).update(note="x")
        assert (gen(made), gen(other)) == (2, 1)

    def test_update_of_many(self) -> None:
        made = [order() for _ in range(3)]
        Order.objects.update(note="x")
        assert [gen(one) for one in made] == [2, 2, 2]

    def test_delete(self) -> None:
        made = order()
        key = made.pk
        made.delete()
        mark = Mark.objects.get(key=str(key))
        assert (mark.gen, mark.deleted) == (2, True)

    def test_bulk_create(self) -> None:
        owner = customer()
        Order.objects.bulk_create([unsaved(owner) for _ in range(5)])
        assert sorted(marks().values()) == [(1, 0)] * 5

    def test_bulk_update(self) -> None:
        made = [order() for _ in range(3)]
        for one in made:
            one.note = "x"
        Order.objects.bulk_update(made, ["note"])
        assert [gen(one) for one in made] == [2, 2, 2]

    def test_upsert(self) -> None:
        made = order()
        again = unsaved(made.customer, id=made.pk, number=made.number, note="x")
        fresh = unsaved(made.customer)
        Order.objects.bulk_create(
            [again, fresh], update_conflicts=True, unique_fields=("number",), update_fields=("note",)
        )
        assert gen(made) == 2
        assert gen(Order.objects.get(number=fresh.number)) == 1

    def test_raw_sql(self) -> None:
        made = order()
        sql("UPDATE orders_order SET note = 'x' WHERE id = %s", made.pk)
        sql("DELETE FROM orders_order WHERE id = %s", made.pk)
        assert gen(made) == 3

    def test_raw_insert_from_select(self) -> None:
        made = order()
        columns = [field.column for field in Order._meta.concrete_fields if field.column not in {"id", "number"}]
        named = ", ".join(columns)
        sql(f"INSERT INTO orders_order (number, {named}) SELECT 'copy', {named} FROM orders_order")
        assert gen(Order.objects.get(number="copy")) == 1
        assert gen(made) == 1

    def test_a_deletion_and_the_same_id_again(self) -> None:
        made = order()
        key, owner = made.pk, made.customer
        made.delete()
        order(owner, id=key)
        mark = Mark.objects.get(key=str(key))
        assert (mark.gen, mark.deleted) == (3, False)

    def test_rolled_back_writes_leave_no_mark(self) -> None:
        made = order()
        twin = unsaved(made.customer, number=made.number)
        with pytest.raises(IntegrityError), transaction.atomic():
            twin.save(force_insert=Order.objects.filter(pk=made.pk).update(note="x") == 1)
        assert gen(made) == 1

    def test_another_key(self) -> None:
        made = order()
        sql("UPDATE orders_order SET id = 4711 WHERE id = %s", made.pk)
        assert gen(made) > 1
        assert gen(4711) == 1
        assert Mark.objects.get(key=str(made.pk)).deleted

    def test_another_owner_is_another_bucket(self) -> None:
        made, other = order(), customer()
        Order.objects.filter(pk=made.pk).update(customer=other)
        mark = Mark.objects.get(key=str(made.pk))
        assert (mark.gen, mark.bucket) == (2, bucket("orders", other.pk))

    def test_the_admin(self, client: Client) -> None:
        made = order(lines=1)
        before = gen(made)
        client.force_login(User.objects.create_superuser("root", "root@example.com", "x"))
        client.post("/admin/orders/order/", {"action": "cancel", "_selected_action": [made.pk]})
        assert Order.objects.get(pk=made.pk).status == Order.Status.CANCELLED
        assert gen(made) > before

    def test_the_nightly_command(self) -> None:
        made = order(lines=1)
        before = gen(made)
        call_command("expire_orders", verbosity=0)
        assert Order.objects.get(pk=made.pk).status == Order.Status.EXPIRED
        assert gen(made) > before

    @pytest.mark.postgres
    def test_truncate(self) -> None:
        made, other = order(lines=1), order()
        before = gen(made), gen(other)
        with transaction.atomic():
            sql("SET CONSTRAINTS ALL IMMEDIATE")
            sql("TRUNCATE orders_order CASCADE")
        assert gen(made) > before[0]
        assert gen(other) > before[1]

    @pytest.mark.postgres
    def test_truncate_of_a_part(self) -> None:
        made = order(lines=2)
        before = gen(made)
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        sql("TRUNCATE orders_orderline")
        assert gen(made) > before

    @pytest.mark.postgres
    def test_copy(self) -> None:
        made, thing = order(lines=1), product()
        before = gen(made)
        with (
            connection.cursor() as cursor,
            cursor.copy(
                "COPY orders_orderline (order_id, product_id, sku, name, quantity, unit_price, amount) FROM STDIN"
            ) as copy,
        ):
            copy.write_row((made.pk, thing.pk, "S", "Thing", 1, "1.00", "1.00"))
        assert gen(made) == before + 1

    @pytest.mark.postgres
    def test_a_session_that_leaves_out_ordinary_triggers(self) -> None:
        made = order()
        sql("SET LOCAL session_replication_role = replica")
        sql("UPDATE orders_order SET note = 'x' WHERE id = %s", made.pk)
        assert gen(made) == 2

    @pytest.mark.postgres
    def test_a_database_user_without_rights_on_our_tables(self) -> None:
        made = order()
        sql("CREATE ROLE strangler_other_program")
        sql("GRANT SELECT, UPDATE ON orders_order TO strangler_other_program")
        sql("SET LOCAL ROLE strangler_other_program")
        sql("UPDATE orders_order SET note = 'x' WHERE id = %s", made.pk)
        sql("RESET ROLE")
        assert gen(made) == 2


class TestParts:
    def test_an_insert_marks_the_parent(self) -> None:
        made = order()
        line(made)
        attempt(made)
        assert gen(made) == 3

    def test_many_at_once_mark_once(self) -> None:
        made, thing = order(), product()
        values = {"sku": "S", "name": "T", "quantity": 1, "unit_price": 1, "amount": 1}
        OrderLine.objects.bulk_create(OrderLine(order=made, product=thing, **values) for _ in range(3))
        assert gen(made) == (2 if connection.vendor == "postgresql" else 4)

    def test_update_and_delete(self) -> None:
        made = order(lines=2)
        before = gen(made)
        OrderLine.objects.filter(order=made).update(quantity=F("quantity") + 1)
        after = gen(made)
        assert after > before
        OrderLine.objects.filter(order=made).first().delete()  # type: ignore[union-attr]
        assert gen(made) > after

    def test_a_cascade(self) -> None:
        made = order(lines=2)
        key = made.pk
        made.delete()
        mark = Mark.objects.get(key=str(key))
        assert mark.deleted
        assert mark.gen > 3

    def test_a_part_that_moves_marks_both_parents(self) -> None:
        one, other = order(lines=1), order()
        before = gen(one), gen(other)
        OrderLine.objects.update(order=other)
        assert (gen(one), gen(other)) == (before[0] + 1, before[1] + 1)

    def test_settling_a_payment(self) -> None:
        made = order()
        attempt(made)
        PaymentAttempt.objects.update(state="succeeded")
        assert gen(made) == 3


@pytest.mark.sqlite
class TestReplace:
    """INSERT OR REPLACE removes rows and fires no delete trigger."""

    def test_by_key(self) -> None:
        made = order()
        columns = ", ".join(field.column for field in Order._meta.concrete_fields)
        sql(f"INSERT OR REPLACE INTO orders_order ({columns}) SELECT {columns} FROM orders_order")
        assert gen(made) == 2

    def test_by_another_unique_value(self) -> None:
        made = order()
        columns = [field.column for field in Order._meta.concrete_fields if field.column != "id"]
        named = ", ".join(columns)
        sql(f"INSERT OR REPLACE INTO orders_order (id, {named}) SELECT 4711, {named} FROM orders_order")
        assert not Order.objects.filter(pk=made.pk).exists()
        assert (gen(made), gen(4711)) == (2, 1)

    def test_a_part_that_is_taken_from_another_parent(self) -> None:
        one, other = order(lines=1), order()
        before = gen(one), gen(other)
        columns = [field.column for field in OrderLine._meta.concrete_fields if field.column != "order_id"]
        named = ", ".join(columns)
        sql(
            f"INSERT OR REPLACE INTO orders_orderline (order_id, {named}) SELECT %s, {named} FROM orders_orderline",
            other.pk,
        )
        assert gen(one) > before[0]
        assert gen(other) > before[1]

    def test_an_acknowledged_version_stays_acknowledged(self) -> None:
        made = order()
        Mark.objects.update(acked=1)
        columns = ", ".join(field.column for field in Order._meta.concrete_fields)
        sql(f"INSERT OR REPLACE INTO orders_order ({columns}) SELECT {columns} FROM orders_order")
        assert marks()[str(made.pk)] == (2, 1)


class TestSuppressed:
    def test_applying_marks_nothing(self) -> None:
        made = order()
        with transaction.atomic(), database.capture_suppressed("default"):
            Order.objects.update(note="x")
        assert gen(made) == 1

    def test_afterwards_everything_is_marked_again(self) -> None:
        made = order()
        with transaction.atomic(), database.capture_suppressed("default"):
            pass
        Order.objects.update(note="x")
        assert gen(made) == 2
        assert not Applying.objects.exists()

    def test_after_an_error_as_well(self) -> None:
        made = order()
        with pytest.raises(IntegrityError), transaction.atomic(), database.capture_suppressed("default"):
            order(made.customer, number=made.number)
        Order.objects.update(note="x")
        assert gen(made) == 2


class TestHealth:
    def test_installed(self) -> None:
        found = install.status(LEGACY)
        assert found
        assert {one.health for one in found} == {Health.INSTALLED}

    def test_missing_triggers_are_put_back_and_everything_is_marked_anew(self) -> None:
        made, gone = order(), order()
        database.check_references_at_once("default")
        sql(install.triggers(LEGACY)[0].drop[0])
        assert [one.health for one in install.status(LEGACY)].count(Health.MISSING) == 1
        with transaction.atomic(), database.capture_suppressed("default"):
            gone.delete()
            database.check_references_at_once("default")
        upkeep.mend(LEGACY)
        assert {one.health for one in install.status(LEGACY)} == {Health.INSTALLED}
        assert Capture.objects.get().gaps == 1
        backfill.run(LEGACY, progress=lambda done: None, wait=lambda seconds: None)
        assert gen(made) == 2
        assert sorted(one[0] for one in marks().values()) == [2, 2]

    @pytest.mark.postgres
    def test_disabled(self) -> None:
        sql("ALTER TABLE orders_order DISABLE TRIGGER ALL")
        assert Health.DISABLED in {one.health for one in install.status(LEGACY)}

    @pytest.mark.postgres
    def test_a_changed_function_is_outdated(self) -> None:
        name = install.triggers(LEGACY)[0].name
        sql(f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        assert [one.name for one in install.status(LEGACY) if one.health is Health.OUTDATED] == [name]

    def test_removed(self) -> None:
        upkeep.stop(LEGACY)
        assert {one.health for one in install.status(LEGACY)} == {Health.MISSING}
        made = order()
        assert gen(made) == 0
        assert not Ownership.objects.filter(backfilled=True).exists()
