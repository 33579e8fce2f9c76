"""The admin's pages about comparisons: who may see and do what, everything escaped, nothing done unconfirmed."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from router.models import ShadowMismatch, ShadowRule
from tests.router.shadow.test_command import counted, example

pytestmark = pytest.mark.django_db
EVIL = "<script>alert(1)</script>"
PLACE = {"service": "orders", "route": "list", "field": "total"}


@pytest.fixture
def measured() -> None:
    counted("", raw=20_000, stayed=40, noise=1000)
    counted("total", raw=40, stayed=40)
    counted("eta", raw=15_000, noise=800)
    counted(EVIL, raw=1, stayed=1)


def login(client: Client, *codenames: str) -> User:
    """Log a person in who may do these things."""
    user = User.objects.create_user("ann", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="router", codename__in=codenames))
    client.force_login(user)
    return user


def page(client: Client, name: str, **query: str) -> Any:
    return client.get(reverse(f"admin:router_shadow_{name}"), query)


@pytest.mark.usefixtures("measured")
def test_findings_by_route_and_field(client: Client) -> None:
    login(client, "view_shadowmismatch")
    text = page(client, "findings").content.decode()
    assert text.index("total</td>") < text.index("eta</td>")
    assert '<span class="badge noise">noise</span>' in text
    assert "Proposal, not applied" in text
    assert EVIL not in text
    assert "&lt;script&gt;" in text
    assert "Leave&nbsp;out" not in text
    assert ">Examples<" not in text


def test_what_cannot_be_left_out_is_not_offered(client: Client) -> None:
    counted("", raw=200, stayed=3, noise=10)
    for field in ("(status)", "(error timeout)", "total"):
        counted(field, raw=3, stayed=1)
    login(client, "view_shadowmismatch", "add_shadowrule")
    assert page(client, "findings").content.decode().count("Leave&nbsp;out") == 1


@pytest.mark.parametrize(
    ("permissions", "name", "status"),
    [
        ((), "findings", 403),
        (("view_shadowmismatch",), "findings", 200),
        (("view_shadowmismatch",), "examples", 403),
        (("view_shadowmismatch", "see_shadow_examples"), "examples", 200),
        (("view_shadowmismatch", "see_shadow_examples"), "ignore", 403),
        (("add_shadowrule",), "ignore", 200),
    ],
)
def test_permissions(client: Client, permissions: tuple[str, ...], name: str, status: int) -> None:
    login(client, *permissions)
    assert page(client, name, **PLACE).status_code == status


def test_values_of_a_row_are_for_those_who_may_see_examples(client: Client) -> None:
    row = example(
        differences=[{"path": "a", "field": "a", "kind": "value", "legacy": "left-1", "extracted": "right-2"}]
    )
    user = login(client, "view_shadowmismatch")
    where = reverse("admin:router_shadowmismatch_change", args=[row.pk])
    assert "left-1" not in client.get(where).content.decode()
    user.user_permissions.add(Permission.objects.get(codename="see_shadow_examples"))
    assert "left-1" in client.get(where).content.decode()


def test_examples_side_by_side_with_the_field_marked(client: Client) -> None:
    differences = [
        {"path": "note", "field": "note", "kind": "value", "legacy": EVIL, "extracted": "y"},
        {"path": "total", "field": "total", "kind": "value", "legacy": "10.50", "extracted": "10.40"},
    ]
    example(fields=["note", "total"], differences=differences)
    login(client, "view_shadowmismatch", "see_shadow_examples")
    text = page(client, "examples", **PLACE).content.decode()
    assert "10.<mark>5</mark>0" in text
    assert "10.<mark>4</mark>0" in text
    assert text.index('class="marked"') < text.index("note</td>")
    assert EVIL not in text
    assert page(client, "examples", service="orders", route="list", field=EVIL).content.decode().count(EVIL) == 0
    assert "at first only</span>" not in text


def test_an_example_of_being_wrong_at_first_only_says_so(client: Client) -> None:
    example(fields=["total"], outcome=ShadowMismatch.UNSTEADY)
    login(client, "view_shadowmismatch", "see_shadow_examples")
    assert "at first only</span>" in page(client, "examples", **PLACE).content.decode()


@pytest.mark.usefixtures("measured")
def test_a_field_is_left_out_once_that_is_confirmed_with_a_reason(client: Client) -> None:
    user = login(client, "view_shadowmismatch", "add_shadowrule")
    place = {**PLACE, "field": "eta"}
    assert "in 800 of 1000" in page(client, "ignore", **place).content.decode()
    where = reverse("admin:router_shadow_ignore", query=place)
    assert not ShadowRule.objects.exists()
    assert "Say why" in client.post(where, {"reason": " "}).content.decode()
    assert client.post(where, {"reason": "an estimate"}).status_code == 302
    rule = ShadowRule.objects.get()
    assert (rule.path, rule.route, rule.reason, rule.made_by) == ("eta", "list", "an estimate", "ann")
    entry = LogEntry.objects.get()
    assert (entry.user, entry.action_flag) == (user, ADDITION)
    assert "eta</td>" not in page(client, "findings").content.decode()


def test_compared_again_once_that_is_confirmed(client: Client) -> None:
    rule = ShadowRule.objects.create(service="orders", path="eta", reason="r", made_by="x", made_at=datetime.now(UTC))
    user = login(client, "view_shadowrule", "change_shadowrule")
    where, chosen = (
        reverse("admin:router_shadowrule_changelist"),
        {"action": "compare_again", "_selected_action": rule.pk},
    )
    assert "Compare these fields again?" in client.post(where, chosen).content.decode()
    assert ShadowRule.objects.filter(removed_at=None).exists()
    client.post(where, {**chosen, "confirmed": "1"})
    rule.refresh_from_db()
    assert rule.removed_by == "ann"
    entry = LogEntry.objects.get()
    assert (entry.user, entry.action_flag) == (user, CHANGE)


def test_rules_are_not_removed_without_permission(client: Client) -> None:
    rule = ShadowRule.objects.create(service="orders", path="eta", reason="r", made_by="x", made_at=datetime.now(UTC))
    login(client, "view_shadowrule")
    chosen = {"action": "compare_again", "_selected_action": rule.pk, "confirmed": "1"}
    client.post(reverse("admin:router_shadowrule_changelist"), chosen)
    assert ShadowRule.objects.filter(removed_at=None).exists()


@pytest.mark.parametrize("name", ["examples", "ignore"])
def test_a_service_that_does_not_exist(client: Client, name: str) -> None:
    login(client, "view_shadowmismatch", "see_shadow_examples", "add_shadowrule")
    assert page(client, name, service="nothing", route="list", field="x").status_code == 404


def test_nothing_compared_is_inconclusive(client: Client) -> None:
    login(client, "view_shadowmismatch")
    assert "Nothing was compared: inconclusive." in page(client, "findings").content.decode()
    assert not ShadowMismatch.objects.exists()
