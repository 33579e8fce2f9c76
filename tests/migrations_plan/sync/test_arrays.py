"""Columns as arrays say what the values said, and no estimate makes PostgreSQL read tables that have grown."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections

from migrations_plan.sync import arrays, relay
from migrations_plan.sync.messages import Outcome
from migrations_plan.sync.sides import Direction
from tests.migrations_plan.sync.houses import LEGACY, OWN, contents, marks, order, settle

pytestmark = pytest.mark.django_db(databases=["default", "own"])

ODD = ['say "x"', "a\\b", "{1,2}", "NULL", "null", "", " ", ",", "'", "%s", "a\nb\tc", "größer 🎁", '\\"', "\\N"]
MANY, FEW = 2_000, 300


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("spell", "kind", "values"),
    [
        (arrays.quoted, "text", [*ODD, None]),
        (arrays.quoted, "text", []),
        (arrays.plain, "bigint", [1, -(2**63), None, 2**63 - 1]),
        (arrays.plain, "boolean", [True, None, False]),
    ],
)
def test_arrays_say_what_the_values_said(spell: Callable[[Any], str], kind: str, values: list[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT %s::{kind}[]", [spell(values)])
        assert cursor.fetchone()[0] == values


def test_odd_texts_arrive_anywhere(both: Direction) -> None:
    for text in ODD:
        order(note=text)
    settle(both)
    assert contents(OWN) == contents(LEGACY)
    assert {one["note"] for one in contents(OWN).values()} == set(ODD)


@pytest.mark.postgres
def test_a_text_that_no_database_takes_is_parked_and_nothing_else(both: Direction) -> None:
    order()
    bad = order()
    documents = both.source.changes("orders", 9).documents
    changed = [
        type(one)(**{name: getattr(one, name) for name in one.__struct_fields__ if name != "data"}, data=data)
        for one in documents
        for data in [{**(one.data or {}), "note": "\0"} if one.key == str(bad.pk) else one.data]
    ]
    results = both.target.apply("orders", tuple(changed))
    assert [one.outcome for one in results] == [Outcome.APPLIED, Outcome.PARKED]


class Explained:
    """Explains every statement of sync before it is run; keeps the most rows that a node of its plan went through."""

    def __init__(self) -> None:
        self.most: dict[str, int] = {}

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")) and "set_config" not in sql:
            with context["connection"].cursor() as cursor:
                cursor.execute("SAVEPOINT explained")
                cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
                plan = cursor.fetchone()[0]
                cursor.execute("ROLLBACK TO SAVEPOINT explained")
            self.most[sql] = gone_through((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
        return execute(sql, params, many, context)


def gone_through(node: dict[str, Any]) -> int:
    """Return the most rows that any node of a plan looked at."""
    removed = sum(value for name, value in node.items() if name.startswith("Rows Removed"))
    mine = (node["Actual Rows"] + removed) * node["Actual Loops"]
    return max([int(mine), *(gone_through(one) for one in node.get("Plans", ()))])


@contextmanager
def explained() -> Iterator[Explained]:
    """Explain what is done in both databases."""
    found = Explained()
    with connections["default"].execute_wrapper(found), connections["own"].execute_wrapper(found):
        yield found


GROWN = {
    "default": (
        "strangler_sync_mark",
        "(aggregate, key, bucket, gen, acked, deleted, changed_at, tries, reason) "
        "SELECT 'orders', (g + 100000)::text, 1, 1, 1, false, now(), 0, ''",
    ),
    "own": (
        "strangler_sync_applied",
        "(aggregate, key, bucket, epoch, gen, digest, deleted, applied_at) "
        "SELECT 'orders', (g + 100000)::text, 1, 1, 1, '', false, now()",
    ),
}


def grow() -> None:
    """Fill the tables after their statistics were taken, as it is where nobody has looked at them since."""
    for alias, (table, rows) in GROWN.items():
        with connections[alias].cursor() as cursor:
            cursor.execute(f"ANALYZE {table}")
            cursor.execute(f"INSERT INTO {table} {rows} FROM generate_series(1, {MANY}) g")


@pytest.mark.postgres
def test_no_statement_goes_through_tables_that_have_grown(both: Direction) -> None:
    grow()
    made = [order(lines=1) for _ in range(10)]
    with explained() as found:
        assert relay.relay(LEGACY, both).outcomes == {Outcome.APPLIED: 10}
        for one in made:
            one.note = "x"
            one.save()
        assert relay.relay(LEGACY, both).outcomes == {Outcome.APPLIED: 10}
    assert {marks()[str(one.pk)] for one in made} != {(1, 0)}
    assert any("strangler_sync_applied" in sql for sql in found.most)
    assert {sql: rows for sql, rows in found.most.items() if rows > FEW} == {}
