"""The unmanaged models mirror the monolith's tables, and a deployment notices when they no longer do."""

from typing import Any

from django.apps import apps
from django.db import connection

CHECK = ("check", "--database", "default")
MIRRORED = (
    "accounts.Address",
    "cart.Cart",
    "cart.CartLine",
    "catalog.Product",
    "catalog.Stock",
    "orders.Order",
    "orders.OrderLine",
    "payments.PaymentAttempt",
)


def alter(table: str, change: str) -> None:
    """Change a table behind the service's back."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} {change}")


def test_every_column_is_mirrored(run_service_command: Any) -> None:
    code, output = run_service_command(*CHECK)
    assert code == 0, output


def test_a_change_of_any_mirrored_table_is_an_error(run_service_command: Any) -> None:
    tables = [apps.get_model(name)._meta.db_table for name in MIRRORED]
    for table in tables:
        alter(table, "ADD COLUMN surprise integer")
    try:
        code, output = run_service_command(*CHECK)
    finally:
        for table in tables:
            alter(table, "DROP COLUMN surprise")
    assert code == 1
    for table in tables:
        assert f"{table}.surprise is integer in the database and missing in the mirror" in output


def test_a_renamed_column_is_an_error(run_service_command: Any) -> None:
    alter("orders_order", "RENAME COLUMN note TO remark")
    try:
        code, output = run_service_command(*CHECK)
    finally:
        alter("orders_order", "RENAME COLUMN remark TO note")
    assert code == 1
    assert "orders_order.note is missing in the database and varchar(500) NOT NULL in the mirror" in output
    assert "orders_order.remark is varchar(500) NOT NULL in the database and missing in the mirror" in output


def test_a_database_without_the_shop_is_an_error(run_service_command: Any, tmp_path: Any) -> None:
    code, output = run_service_command(*CHECK, ORDERS_DATABASE_URL=f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    assert code == 1
    assert "There is no table orders_order." in output
    assert "ORDERS_DATABASE_URL" in output
