"""Buckets are the same in Python and in SQL, spread evenly, and pinned: changing them moves every customer."""

import random
import subprocess
import sys
import uuid

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from router.buckets import bucket, bucket_sql
from router.exceptions import KeyUnusable, StranglerError
from tests.examples import examples

SERVICES = ("orders", "users", "payments", "a", "Ünïcode service", "x" * 200)
BIG = 2**63 - 1
EDGES = (0, 1, -1, 42, 2**31 - 2, 2**31 - 1, 2**31, 2**31 + 1, -(2**31), 2**32, -(2**40) - 7, BIG, -BIG - 1)


def v7(milliseconds: int, seed: random.Random) -> uuid.UUID:
    value = milliseconds << 80 | 7 << 76 | seed.getrandbits(12) << 64 | 2 << 62 | seed.getrandbits(62)
    return uuid.UUID(int=value)


def keys_of(kind: str) -> list[int | uuid.UUID]:
    seed = random.Random(20260102)
    return {
        "sequential": lambda: list(range(1, 10_001)),
        "times ten": lambda: list(range(10, 100_001, 10)),
        "times 100": lambda: list(range(100, 1_000_001, 100)),
        "above 2**31": lambda: list(range(2**40, 2**40 + 10_000)),
        "negative": lambda: list(range(-10_000, 0)),
        "uuid v4": lambda: [uuid.UUID(int=seed.getrandbits(128), version=4) for _ in range(10_000)],
        "uuid v7": lambda: [v7(1_700_000_000_000 + n, seed) for n in range(10_000)],
        # Time first, and the same clock sequence and node in each: the last 64 bits never change.
        "uuid v1": lambda: [
            uuid.UUID(fields=(0x1000_0000 + 10_000 * n, 0x1EEF, 0x11EF, 0x80, 0, 0xABCD)) for n in range(10_000)
        ],
        "uuid of small numbers": lambda: [uuid.UUID(int=n) for n in range(10_000)],
    }[kind]()


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    "kind",
    [
        "sequential",
        "times ten",
        "times 100",
        "above 2**31",
        "negative",
        "uuid v4",
        "uuid v7",
        "uuid v1",
        "uuid of small numbers",
    ],
)
def test_a_percentage_of_ten_thousand_is_that_percentage_within_a_point(service: str, kind: str) -> None:
    buckets = [bucket(service, key) for key in keys_of(kind)]

    inside = {percent: sum(number < percent for number in buckets) / 100 for percent in (10, 50)}
    assert abs(inside[10] - 10) <= 1
    assert abs(inside[50] - 50) <= 2


@pytest.mark.parametrize(
    ("service", "key", "expected"),
    [
        ("orders", 1, 23),
        ("orders", 2, 96),
        ("orders", 42, 96),
        ("orders", -7, 78),
        ("orders", 2**40, 40),
        ("users", 42, 50),
        ("orders", "alice@example.com", 33),
        ("orders", uuid.UUID("6f1f9c1e-93a1-4b1c-8f1a-5f0c0a4d2b11"), 96),
        ("payments", uuid.UUID(int=0), 88),
    ],
)
def test_pinned(service: str, key: int | uuid.UUID | str, expected: int) -> None:
    assert bucket(service, key) == expected


def test_another_process_with_other_hash_seeds_agrees() -> None:
    keys = ["1", "-7", "alice@example.com", "6f1f9c1e-93a1-4b1c-8f1a-5f0c0a4d2b11"]
    program = f"from router.buckets import bucket; print([bucket('orders', key) for key in {keys!r}])"
    printed = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "1"},
        timeout=60,
    )

    assert printed.stdout.strip() == str([bucket("orders", key) for key in keys])


def test_services_have_buckets_of_their_own() -> None:
    alike = sum(bucket("orders", key) == bucket("users", key) for key in range(10_000))

    assert 50 <= alike <= 150


@given(st.integers(min_value=-(10**30), max_value=10**30))
def test_text_that_spells_an_integer_is_that_integer(key: int) -> None:
    assert bucket("orders", str(key)) == bucket("orders", key)


@given(st.uuids())
def test_text_that_spells_a_uuid_is_that_uuid(key: uuid.UUID) -> None:
    assert bucket("orders", str(key)) == bucket("orders", str(key).upper()) == bucket("orders", key)


@given(st.text())
def test_any_text_has_a_bucket(key: str) -> None:
    assert 0 <= bucket("orders", key) < 100


@pytest.mark.parametrize("text", ["007", "-0", "+1", " 1", "1.0", "٣", "1" * 5000])
def test_text_that_only_looks_like_an_integer_is_text(text: str) -> None:
    spread = {bucket(service, text) for service in SERVICES}

    assert len(spread) > 1


def test_every_bit_of_a_uuid_counts() -> None:
    base = uuid.UUID("6f1f9c1e-93a1-4b1c-8f1a-5f0c0a4d2b11")
    for bit in range(128):
        flipped = [bucket(f"service {n}", uuid.UUID(int=base.int ^ (1 << bit))) for n in range(20)]
        assert flipped != [bucket(f"service {n}", base) for n in range(20)], f"bit {bit} does not count"


@pytest.mark.parametrize("key", [True, None, 1.5, b"1", ["1"]])
def test_what_is_no_key_is_refused_by_name(key: object) -> None:
    with pytest.raises(KeyUnusable, match=type(key).__name__):
        bucket("orders", key)  # type: ignore[arg-type]


def from_sql(service: str, kind: str, literals: list[str]) -> list[int | None]:
    """Return what the database makes of each literal, read from a column."""
    rows = " UNION ALL ".join(f"SELECT {n} AS n, {literal} AS k" for n, literal in enumerate(literals))
    expression = bucket_sql(connection.vendor, service, "t.k", kind)  # type: ignore[arg-type]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {expression} FROM ({rows}) AS t ORDER BY t.n")
        return [row[0] for row in cursor.fetchall()]


def integer_literals(keys: list[int]) -> list[str]:
    kind = "bigint" if connection.vendor == "postgresql" else "integer"
    return [f"CAST('{key}' AS {kind})" for key in keys]


def uuid_literals(keys: list[uuid.UUID]) -> list[str]:
    return [f"'{key}'::uuid" if connection.vendor == "postgresql" else f"'{key.hex}'" for key in keys]


@pytest.mark.django_db
class TestSql:
    @pytest.mark.parametrize("service", SERVICES)
    def test_integers_at_the_edges(self, service: str) -> None:
        assert from_sql(service, "integer", integer_literals(list(EDGES))) == [bucket(service, key) for key in EDGES]

    @examples(10)
    @given(keys=st.lists(st.integers(min_value=-BIG - 1, max_value=BIG), min_size=1, max_size=50))
    def test_any_integer(self, keys: list[int]) -> None:
        assert from_sql("orders", "integer", integer_literals(keys)) == [bucket("orders", key) for key in keys]

    @pytest.mark.parametrize("service", SERVICES)
    def test_uuids_at_the_edges(self, service: str) -> None:
        edges = [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), *(uuid.UUID(int=1 << bit) for bit in range(128))]

        assert from_sql(service, "uuid", uuid_literals(edges)) == [bucket(service, key) for key in edges]

    @examples(10)
    @given(keys=st.lists(st.uuids(), min_size=1, max_size=50))
    def test_any_uuid(self, keys: list[uuid.UUID]) -> None:
        assert from_sql("orders", "uuid", uuid_literals(keys)) == [bucket("orders", key) for key in keys]

    @pytest.mark.parametrize("type_name", ["smallint", "integer", "bigint"])
    def test_a_column_of_any_integer_type(self, type_name: str) -> None:
        literal = f"CAST(-32768 AS {type_name})"

        assert from_sql("orders", "integer", [literal]) == [bucket("orders", -32768)]

    @pytest.mark.parametrize("kind", ["integer", "uuid"])
    def test_null_has_no_bucket(self, kind: str) -> None:
        null = "CAST(NULL AS uuid)" if kind == "uuid" and connection.vendor == "postgresql" else "CAST(NULL AS integer)"

        assert from_sql("orders", kind, [null]) == [None]

    def test_upper_case_hexadecimal_is_the_same_uuid(self) -> None:
        key = uuid.UUID("abcdef12-3456-4abc-8def-abcdefabcdef")
        literal = f"'{key.hex.upper()}'" + ("::uuid" if connection.vendor == "postgresql" else "")

        assert from_sql("orders", "uuid", [literal]) == [bucket("orders", key)]

    @pytest.mark.parametrize("kind", ["integer", "uuid"])
    def test_a_statement_with_parameters(self, kind: str) -> None:
        literal, key = (
            (integer_literals([42])[0], 42)
            if kind == "integer"
            else (uuid_literals([uuid.UUID(int=42)])[0], uuid.UUID(int=42))
        )
        expression = bucket_sql(connection.vendor, "orders", literal, kind, with_params=True)  # type: ignore[arg-type]
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT 1 WHERE {expression} = %s", [bucket("orders", key)])
            assert cursor.fetchone() == (1,)

    def test_real_tables(self, django_user_model: type) -> None:
        django_user_model.objects.bulk_create(django_user_model(username=f"customer-{n}") for n in range(300))  # type: ignore[attr-defined]
        table, column = connection.ops.quote_name(django_user_model._meta.db_table), connection.ops.quote_name("id")  # type: ignore[attr-defined]
        expression = bucket_sql(connection.vendor, "orders", f"{table}.{column}", "integer")  # type: ignore[arg-type]
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {column}, {expression} FROM {table}")
            rows = cursor.fetchall()

        assert len(rows) >= 300
        assert rows == [(pk, bucket("orders", pk)) for pk, _ in rows]


@pytest.mark.parametrize(("vendor", "kind"), [("mysql", "integer"), ("sqlite", "text")])
def test_what_has_no_sql_says_what_has(vendor: str, kind: str) -> None:
    with pytest.raises(StranglerError, match="Known: postgresql integer, postgresql uuid, sqlite integer, sqlite uuid"):
        bucket_sql(vendor, "orders", "id", kind)  # type: ignore[arg-type]
