"""The predicate for batch work agrees, row by row, with what an operation decides for the row's owner."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from legacy_shop.accounts.models import Address
from legacy_shop.orders.models import Order
from router import seam
from router.buckets import bucket
from router.exceptions import KeyUnusable
from router.testing import override_envelope, override_flag, override_killed, override_ownership
from tests.router.seams import forgotten_afterwards

pytestmark = pytest.mark.django_db

RULES: dict[str, dict[str, Any]] = {
    "no plan": {},
    "nothing moved": {"writes": 0},
    "some moved": {"writes": 37},
    "all moved": {"writes": 100},
    "the flag asks for less": {"writes": 50, "flag": {"percent": 20}},
    "the flag names people": {"writes": 50, "flag": {"percent": 0, "users": {"3", "5", "8", "13", "not a number"}}},
    "the flag lets everybody in": {"writes": 50, "flag": {"everyone": True, "users": {"3"}}},
    "the flag lets nobody in": {"writes": 50, "flag": {"everyone": False, "users": {"3"}}},
    "logged-in customers": {"writes": 50, "flag": {"authenticated": True}},
    "killed": {"writes": 50, "killed": True},
    "some owned": {"writes": 0, "owned": {"extracted": range(25), "changing": [25, 99]}},
    "some owned, some steered": {"writes": 30, "owned": {"extracted": range(20, 40)}},
    "some owned, people named": {"writes": 50, "flag": {"percent": 10, "users": {"3"}}, "owned": {"extracted": [1, 2]}},
    "some owned, killed": {"writes": 100, "killed": True, "owned": {"extracted": range(25), "changing": [30]}},
    "all owned, nothing steered": {"writes": 0, "owned": {"extracted": range(100)}},
    "nothing owned": {"writes": 10, "owned": {}},
}


@pytest.fixture(params=RULES)
def rules(request: pytest.FixtureRequest) -> Iterator[str]:
    """Steer in each of the ways that there are."""
    declared = dict(RULES[request.param])
    flag, killed, owned = declared.pop("flag", None), declared.pop("killed", False), declared.pop("owned", None)
    with ExitStack() as stack:
        if declared:
            stack.enter_context(override_envelope("orders", **declared))
        if flag is not None:
            stack.enter_context(override_flag("orders.writes", **flag))
        if killed:
            stack.enter_context(override_killed("orders.off"))
        if owned is not None:
            stack.enter_context(override_ownership("orders", **owned))
        yield request.param


@pytest.fixture
def touch() -> Iterator[Any]:
    """Return an operation that belongs to an owner."""
    with forgotten_afterwards():
        yield seam.write("orders.touch", key=lambda owner: owner)(lambda owner: None)


@pytest.fixture
def people() -> list[int]:
    """Make people with the keys 1 to 150, among them those whom flags name."""
    User.objects.bulk_create(User(pk=number, username=f"p{number}") for number in range(1, 151))
    return list(range(1, 151))


def stays(touch: Any, owners: list[Any]) -> set[Any]:
    return {owner for owner in owners if touch.decision(owner).side == "legacy"}


def test_a_queryset(rules: str, people: list[int], touch: Any) -> None:
    here = set(User.objects.filter(seam.owned_here("orders", "id")).values_list("pk", flat=True))
    away = set(User.objects.exclude(seam.owned_here("orders", "id")).values_list("pk", flat=True))
    assert here == stays(touch, people)
    assert away == set(people) - here


def test_raw_sql(rules: str, people: list[int], touch: Any) -> None:
    condition, parameters = seam.owned_here_sql("orders", "u.id")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT u.id FROM auth_user u WHERE u.id > %s AND {condition}", [0, *parameters])
        assert {row[0] for row in cursor.fetchall()} == stays(touch, people)


def test_owners_with_uuids(rules: str, touch: Any) -> None:
    """Any table with a UUID does: the predicate looks at a column and not at what it means."""
    owners = [uuid.UUID(int=number << 64 | number) for number in range(1, 120)]
    table = "CREATE TEMPORARY TABLE owners (owner {})".format("uuid" if connection.vendor == "postgresql" else "text")
    with connection.cursor() as cursor:
        cursor.execute(table)
        marks = [owner if connection.vendor == "postgresql" else owner.hex for owner in owners]
        cursor.executemany("INSERT INTO owners VALUES (%s)", [[mark] for mark in marks])
        condition, parameters = seam.owned_here_sql("orders", "owner", kind="uuid")
        cursor.execute(f"SELECT owner FROM owners WHERE {condition} AND %s = 1", [*parameters, 1])
        found = {row[0] if isinstance(row[0], uuid.UUID) else uuid.UUID(row[0]) for row in cursor.fetchall()}
        cursor.execute("DROP TABLE owners")
    assert found == stays(touch, owners)


def test_owners_with_names_have_a_stored_bucket(rules: str, touch: Any) -> None:
    people = [User(username=f"reader-{number}", last_name=str(bucket("orders", f"r{number}"))) for number in range(99)]
    for number, person in enumerate(people):
        person.first_name = f"r{number}"
    User.objects.bulk_create(people)
    stored = "CAST(last_name AS integer)"
    condition, parameters = seam.owned_here_sql("orders", "first_name", kind="text", bucket=stored)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT first_name FROM auth_user WHERE {condition}", parameters)
        found = {row[0] for row in cursor.fetchall()}
    assert found == stays(touch, [person.first_name for person in people])


def test_names_without_a_stored_bucket_are_refused_and_the_way_out_is_named() -> None:
    with override_envelope("orders", writes=50), pytest.raises(KeyUnusable, match="bucket=") as refused:
        list(User.objects.filter(seam.owned_here("orders", "username")))
    assert "username" in str(refused.value)


def test_across_a_relation(people: list[int], touch: Any) -> None:
    Address.objects.bulk_create(Address(user_id=pk, name="x", street="x", city="x", postcode="1") for pk in people)
    with override_envelope("orders", writes=50):
        found = set(Address.objects.filter(seam.owned_here("orders", "user")).values_list("user_id", flat=True))
        assert found == stays(touch, people)


@pytest.mark.parametrize(("percent", "stay"), [(0, True), (99, True), (100, False)])
def test_rows_without_an_owner_move_last(percent: int, stay: bool) -> None:
    user = User.objects.create(username="u")
    address = {f"ship_{name}": "x" for name in ("name", "street", "city", "postcode")}
    Order.objects.create(number="1", customer=user, total=1, placed_at="2026-01-01T00:00Z", **address)
    with override_envelope("orders", writes=percent):
        nobody_s = Order.objects.filter(seam.owned_here("orders", "shipping_address"))
        assert nobody_s.exists() is stay


@pytest.mark.parametrize(
    ("writes", "flag", "expected"), [(0, None, False), (1, None, True), (10, 0, False), (10, 5, True)]
)
def test_whether_anything_has_moved(writes: int, flag: int | None, expected: bool) -> None:
    with ExitStack() as stack:
        stack.enter_context(override_envelope("orders", writes=writes))
        if flag is not None:
            stack.enter_context(override_flag("orders.writes", percent=flag))
        assert seam.moved("orders") is expected
