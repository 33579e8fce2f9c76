"""The admin shows what a flag asks for and what it gets, refuses nonsense, and logs every change."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries
from waffle.models import Switch

from router import poller
from router.models import BreakerEvent, BreakerOverride, Flag, ShadowMismatch, TrafficCount
from router.snapshot import Envelope
from router.testing import forget_snapshot

pytestmark = pytest.mark.django_db

LIST = "admin:router_flag_changelist"


class Ten:
    """A source that lets ten percent of the reads of orders be diverted."""

    def envelopes(self) -> dict[str, Envelope]:
        """Return ten percent."""
        return {"orders": Envelope(step="shared.reads@10", reads=10)}


@pytest.fixture(autouse=True)
def ten_percent(settings: Any) -> Iterator[None]:
    """Let the plan allow ten percent."""
    settings.STRANGLER = {**settings.STRANGLER, "SNAPSHOT_SOURCE": f"{__name__}.Ten"}
    with forget_snapshot():
        yield


@pytest.fixture
def operator(client: Client) -> User:
    """Log an operator in."""
    user = User.objects.create_superuser("operator", password="x")
    client.force_login(user)
    return user


def fields(**values: Any) -> dict[str, Any]:
    empty = {"name": "orders.reads", "everyone": "unknown", "percent": "", "note": "", "languages": "", "users": ""}
    return {**empty, **values}


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize(
    ("flag", "shown", "why"),
    [
        ({"name": "orders.reads", "percent": 25}, "25 % / 10 %", "shared.reads@10 allows no more"),
        ({"name": "orders.reads", "percent": 5}, "5 % / 5 %", "the flag orders.reads asks for no more"),
        (
            {"name": "orders.reads", "everyone": False, "percent": 5},
            "0 % / 0 %",
            "the flag orders.reads asks for no more",
        ),
        ({"name": "orders.writes", "everyone": True}, "100 % / 0 %", "shared.reads@10 allows no more"),
        ({"name": "orders.reads", "staff": True}, "0 % / 0 % and staff", "asks for no more"),
        ({"name": "new-homepage", "percent": 5}, "steers no service", ""),
    ],
)
def test_the_list_shows_requested_and_effective(client: Client, flag: dict[str, Any], shown: str, why: str) -> None:
    made = Flag.objects.create(**{"superusers": False, **flag})
    page = client.get(reverse(LIST)).content.decode()
    one = client.get(reverse("admin:router_flag_change", args=[made.pk])).content.decode()

    assert f'<td class="field-requested_and_effective">{shown}</td>' in page
    assert why in page
    assert shown in one


@pytest.mark.usefixtures("operator")
def test_a_kill_switch_is_seen(client: Client) -> None:
    Flag.objects.create(name="orders.reads", percent=5, superusers=False)
    Switch.objects.create(name="orders.off", active=True)
    page = client.get(reverse(LIST)).content.decode()

    assert "5 % / 0 %" in page
    assert "the kill switch orders.off is on" in page


@pytest.mark.usefixtures("operator")
def test_the_list_reads_the_rules_once(client: Client, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    for channel in ("reads", "writes", "shadow"):
        Flag.objects.create(name=f"orders.{channel}", percent=5)
    client.get(reverse(LIST))
    with django_assert_max_num_queries(12):
        client.get(reverse(LIST))


def test_changes_are_logged_and_take_effect(client: Client, operator: User) -> None:
    flag = Flag.objects.create(name="orders.reads", percent=5)
    answer = client.post(reverse("admin:router_flag_change", args=[flag.pk]), fields(percent="7", everyone="unknown"))

    assert answer.status_code == 302
    assert poller.refresh().flags["orders.reads"].percent == 7
    entry = LogEntry.objects.get()
    assert (entry.user, entry.action_flag, entry.object_id) == (operator, CHANGE, str(flag.pk))
    assert "ercent" in entry.change_message


@pytest.mark.usefixtures("operator")
def test_a_hundred_percent_is_possible(client: Client) -> None:
    assert client.post(reverse("admin:router_flag_add"), fields(percent="100")).status_code == 302
    assert Flag.objects.get().percent == 100


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"percent": "101"}, "less than or equal to 100"),
        ({"percent": "-1"}, "greater than or equal to 0"),
        ({"percent": "2.5"}, "Enter a whole number"),
        ({"name": "orders.raeds"}, "steers nothing"),
    ],
)
def test_nonsense_is_refused(client: Client, values: dict[str, str], says: str) -> None:
    answer = client.post(reverse("admin:router_flag_add"), fields(**values))

    assert answer.status_code == 200
    assert says in answer.content.decode()
    assert not Flag.objects.exists()


@pytest.mark.parametrize(("action", "everyone"), [("enable_for_all", True), ("disable_for_all", False)])
def test_waffles_actions_are_kept_and_logged(client: Client, operator: User, action: str, everyone: bool) -> None:
    flag = Flag.objects.create(name="orders.reads", percent=5)
    client.post(reverse(LIST), {"action": action, "_selected_action": [flag.pk]})

    assert poller.refresh().flags["orders.reads"].everyone is everyone
    assert LogEntry.objects.get().user == operator


@pytest.mark.usefixtures("operator")
def test_the_help_says_buckets_and_hides_the_dice(client: Client) -> None:
    page = client.get(reverse("admin:router_flag_add")).content.decode()

    assert "100 buckets" in page
    assert 'name="testing"' not in page
    assert 'name="rollout"' not in page


def test_nobody_without_permission_gets_in(client: Client) -> None:
    client.force_login(User.objects.create_user("clerk", is_staff=True))

    assert client.get(reverse(LIST)).status_code == 403


@pytest.mark.usefixtures("operator")
def test_a_breaker_can_be_held_and_let_go(client: Client) -> None:
    add = reverse("admin:router_breakeroverride_add")
    client.post(add, {"service": "orders", "store": "shared", "state": "open", "note": "drill"})
    assert poller.refresh().breakers_forced == {("orders", "shared"): "open"}
    BreakerOverride.objects.all().delete()
    assert poller.refresh().breakers_forced == {}


@pytest.mark.usefixtures("operator")
def test_a_breaker_that_does_not_exist_is_refused(client: Client) -> None:
    add = reverse("admin:router_breakeroverride_add")
    page = client.post(add, {"service": "oders", "store": "shared", "state": "open"}).content.decode()

    assert "Known: orders" in page


def test_everything_is_registered() -> None:
    for model in (Flag, BreakerOverride, BreakerEvent, ShadowMismatch, TrafficCount, Switch):
        assert admin.site.is_registered(model)
