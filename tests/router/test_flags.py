"""Flags are read past every cache, and answer by bucket wherever they are asked."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test import RequestFactory
from pytest_django import DjangoAssertNumQueries
from waffle import flag_is_active, get_waffle_flag_model
from waffle.models import Switch

from router import flags
from router.buckets import bucket
from router.models import BreakerOverride, Flag
from router.snapshot import FlagRule
from router.testing import override_routes

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_cached() -> None:
    """Keep what waffle has cached in one test from the next."""
    cache.clear()


@pytest.fixture
def shopper() -> Callable[[int], User]:
    """Make the first customer found in a bucket."""

    def make(in_bucket: int, salt: str = "orders") -> User:
        pk = next(n for n in range(100_000, 200_000) if bucket(salt, n) == in_bucket)
        return User.objects.create(pk=pk, username=f"customer-{pk}")

    return make


def load() -> flags.Steering:
    return flags.load("default")


def active(flag: Flag, user: Any, **request: Any) -> bool | None:
    asked = RequestFactory().get("/", **request)
    asked.user = user
    return flag.is_active(asked)


def test_our_flag_is_waffles_flag() -> None:
    assert get_waffle_flag_model() is Flag


def test_nothing_set_is_nothing_read() -> None:
    assert load() == flags.Steering(flags={}, killed=frozenset(), breakers_forced={})


def test_a_flag_is_read_with_its_users_and_the_members_of_its_groups() -> None:
    alice, bob, carol = (User.objects.create(username=name) for name in ("alice", "bob", "carol"))
    testers = Group.objects.create(name="testers")
    bob.groups.add(testers)
    flag = Flag.objects.create(name="orders.reads", percent=5, superusers=False, staff=True)
    flag.users.add(alice)
    flag.groups.add(testers)
    other = Flag.objects.create(name="orders.writes", everyone=True, superusers=False)
    other.users.add(carol)

    assert load().flags == {
        "orders.reads": FlagRule(
            name="orders.reads", percent=5, staff=True, users=frozenset({str(alice.pk), str(bob.pk)})
        ),
        "orders.writes": FlagRule(name="orders.writes", everyone=True, users=frozenset({str(carol.pk)})),
    }


def test_flags_that_steer_no_service_are_not_read() -> None:
    for name in ("new-homepage", "orders.raeds", "warehouse.reads"):
        Flag.objects.create(name=name, percent=5)

    assert load().flags == {}


def test_what_bypasses_save_is_read() -> None:
    Flag.objects.create(name="orders.reads", percent=5)
    flag_is_active(RequestFactory().get("/"), "orders.reads")  # now waffle has it in its cache
    Flag.objects.update(percent=6)
    assert load().flags["orders.reads"].percent == 6
    with connection.cursor() as cursor:
        cursor.execute("UPDATE router_flag SET percent = 7")
    assert load().flags["orders.reads"].percent == 7


@pytest.mark.parametrize("name", ["strangler.off", "orders.off"])
def test_kill_switches(name: str) -> None:
    Switch.objects.create(name=name, active=True)
    Switch.objects.create(name="something.off", active=True)
    assert load().killed == {name}
    Switch.objects.update(active=False)
    assert load().killed == frozenset()


def test_forced_breakers() -> None:
    BreakerOverride.objects.create(service="orders", store="shared", state="open")

    assert load().breakers_forced == {("orders", "shared"): "open"}


def test_services_with_routes_are_steered_as_those_with_settings() -> None:
    with override_routes():
        assert flags.steered_services() == {"orders"}


def test_reading_takes_five_queries(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    for channel in ("reads", "writes", "shadow"):
        Flag.objects.create(name=f"orders.{channel}", percent=5)
    with django_assert_num_queries(5):
        load()


# --- waffle's own question, on our flags ---------------------------------------------------------------------
@pytest.mark.parametrize(("in_bucket", "expected"), [(0, True), (9, True), (10, False), (99, False)])
def test_is_active_answers_by_the_services_bucket(shopper: Callable[..., User], in_bucket: int, expected: bool) -> None:
    flag = Flag.objects.create(name="orders.reads", percent=10, superusers=False)

    customer = shopper(in_bucket)

    assert {active(flag, customer) for _ in range(3)} == {expected}


def test_an_ordinary_flag_has_buckets_of_its_own(shopper: Callable[..., User]) -> None:
    flag = Flag.objects.create(name="new-homepage", percent=10, superusers=False)

    assert active(flag, shopper(9, "new-homepage")) is True
    assert active(flag, shopper(10, "new-homepage")) is False


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"everyone": True}, True),
        ({"everyone": False, "percent": 100}, False),
        ({"percent": 100}, True),
        ({"percent": 99}, False),
        ({"percent": None}, False),
        ({"authenticated": True}, False),
    ],
)
def test_anonymous_visitors_move_last(values: dict[str, Any], expected: bool) -> None:
    assert active(Flag.objects.create(name="orders.reads", **values), AnonymousUser()) is expected


@pytest.mark.parametrize(
    "request_values",
    [
        {"query_params": {"orders.reads": "1", "dwft_orders.reads": "1"}},
        {"headers": {"dwft-orders.reads": "1", "cookie": "dwf_orders.reads=True; dwft_orders.reads=True"}},
    ],
)
def test_no_client_switches_a_flag_for_itself(request_values: dict[str, Any], settings: Any) -> None:
    settings.WAFFLE_OVERRIDE = True
    flag = Flag.objects.create(name="orders.reads", percent=0, testing=True, rollout=True)

    assert active(flag, AnonymousUser(), **request_values) is False


def test_named_people_are_in(shopper: Callable[..., User]) -> None:
    flag = Flag.objects.create(name="orders.reads", percent=0, superusers=False)
    tester, other = shopper(50), shopper(51)
    flag.users.add(tester)

    assert (active(flag, tester), active(flag, other)) == (True, False)


def test_a_request_without_a_user_is_anonymous() -> None:
    assert Flag.objects.create(name="orders.reads", percent=99).is_active(RequestFactory().get("/")) is False


def test_a_language_is_in() -> None:
    flag = Flag.objects.create(name="new-homepage", languages="de, fr")
    asked = RequestFactory().get("/")
    asked.LANGUAGE_CODE = "fr"  # type: ignore[attr-defined]

    assert flag.is_active(asked) is True


def test_a_flag_that_does_not_exist_is_waffles_default() -> None:
    assert flag_is_active(RequestFactory().get("/"), "nowhere") is False


# --- validation ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("percent", [None, 0, 1, 100])
def test_valid_percentages(percent: int | None) -> None:
    Flag(name="orders.reads", percent=percent).full_clean()


@pytest.mark.parametrize("percent", [-1, 101, 1000])
def test_invalid_percentages(percent: int) -> None:
    with pytest.raises(ValidationError) as refused:
        Flag(name="orders.reads", percent=percent).full_clean()

    assert "percent" in refused.value.message_dict


@pytest.mark.parametrize("percent", [-1, 101])
def test_the_database_refuses_them_as_well(percent: int) -> None:
    Flag.objects.create(name="orders.reads", percent=1)
    with pytest.raises(IntegrityError), transaction.atomic():
        Flag.objects.update(percent=percent)


def test_a_mistyped_name_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(ValidationError, match=r"orders\.reads, orders\.writes, orders\.shadow"):
        Flag(name="orders.raeds").full_clean()
    Flag(name="anything-else").full_clean()


@pytest.mark.parametrize(
    ("service", "store", "field", "known"),
    [("oders", "shared", "service", "orders"), ("orders", "moon", "store", "own, shared")],
)
def test_an_override_of_nothing_is_refused_with_the_valid_ones(
    service: str, store: str, field: str, known: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        BreakerOverride(service=service, store=store, state="open").full_clean()

    assert f"Known: {known}" in refused.value.message_dict[field][0]
