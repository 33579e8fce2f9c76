"""The control pages: what is shown, confirmed, permitted, done and logged."""

import html
import re
from collections.abc import Callable

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from migrations_plan.gates import Comparisons
from migrations_plan.models import Evidence, HistoryEntry, ServiceState
from migrations_plan.testing import stand_at
from tests.migrations_plan.fakes import FakeMeasurements

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("orders_plan", "numbers")]
LIST = "/admin/migrations_plan/servicestate/"
CONTROL = f"{LIST}orders/"
SignIn = Callable[..., Client]


@pytest.fixture
def sign_in() -> SignIn:
    """Return a function that logs a member of staff in who may do what is named."""

    def login(*permissions: str) -> Client:
        user = get_user_model().objects.create_user("dana", password="x", is_staff=True)
        for permission in permissions:
            user.user_permissions.add(Permission.objects.get(codename=permission))
        client = Client()
        client.force_login(user)
        return client

    return login


@pytest.fixture
def operator(sign_in: SignIn) -> Client:
    """Return the client of somebody who may move services."""
    return sign_in("view_servicestate", "change_servicestate")


@pytest.fixture
def viewer(sign_in: SignIn) -> Client:
    """Return the client of somebody who may look only."""
    return sign_in("view_servicestate", "view_historyentry", "view_evidence")


def words(page: bytes) -> str:
    """Return the text of a page with its spaces evened out."""
    return " ".join(html.unescape(re.sub(r"<style.*?</style>|<[^>]+>", " ", page.decode(), flags=re.DOTALL)).split())


def test_the_list_has_every_service_with_a_plan(viewer: Client) -> None:
    page = viewer.get(LIST)
    assert page.status_code == 200
    assert "orders monolith 0 % 0 % 0 % shared.shadow nothing" in words(page.content)


def test_the_control_page_shows_ladder_traffic_gates_and_history(viewer: Client, numbers: FakeMeasurements) -> None:
    stand_at("orders", "shared.reads@10")
    numbers.compared = Comparisons(compared=7, matched=7)
    page = viewer.get(CONTROL)
    text = words(page.content)
    assert 'class="here" title="the service answers the reads of 10 % of the buckets" aria-current="step"' in (
        page.content.decode()
    )
    assert page.content.decode().count('<li class="past"') == 3
    assert page.content.decode().count('<li class="ahead"') == 6
    assert "reads 10 % 100 % 10 % shared there is no flag orders.reads, so all that shared.reads@10 allows" in text
    assert "Before shared.reads@50" in text
    assert "shadow-match-rate inconclusive 7 268 261" in text
    assert "a test taken monolith → shared.reads@10" in text


def test_who_may_only_look_sees_no_button_and_may_do_nothing(viewer: Client) -> None:
    stand_at("orders", "shared.shadow")
    page = viewer.get(CONTROL)
    assert page.status_code == 200
    assert b"Advance" not in page.content
    assert b"Roll back" not in page.content
    for action in ("advance", "rollback", "pause", "resume"):
        assert viewer.get(f"{CONTROL}{action}/").status_code == 403
        assert viewer.post(f"{CONTROL}{action}/", {"reason": "x"}).status_code == 403
    assert ServiceState.objects.get().version == 1


def test_who_may_not_even_look_is_refused(sign_in: SignIn) -> None:
    client = sign_in()
    for url in (LIST, CONTROL, f"{CONTROL}history/", f"{CONTROL}advance/"):
        assert client.get(url).status_code == 403
    assert Client().get(CONTROL).status_code == 302


def test_an_action_is_shown_first_and_done_when_confirmed(operator: Client) -> None:
    page = operator.get(f"{CONTROL}advance/", {"to": "shared.reads@1"})
    text = words(page.content)
    assert "monolith → shared.shadow legacy answers" in text
    assert "allow reads 0 % -> 1 % allow reads 1 % -> 0 %" in text
    assert "Must hold first: at least 99.50% of 539 or more compared answers match" in text
    assert not ServiceState.objects.exists()
    answer = operator.post(f"{CONTROL}advance/", {"to": "shared.reads@1", "reason": "tuesday"}, follow=True)
    assert "Orders: monolith -> shared.shadow -> shared.reads@1" in words(answer.content)
    assert ServiceState.objects.get().step == "shared.reads@1"
    assert set(HistoryEntry.objects.values_list("actor", "reason")) == {("dana", "tuesday")}
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.user.get_username()) == ("orders", "dana")
    assert entry.change_message == "Advance: orders: monolith -> shared.shadow -> shared.reads@1 (tuesday)"
    assert entry.get_admin_url() == reverse("admin:migrations_plan_servicestate_change", args=("orders",))
    assert operator.get(entry.get_admin_url() or "").status_code == 200


def test_roll_back_pause_and_resume(operator: Client) -> None:
    stand_at("orders", "shared.reads@10")
    operator.post(f"{CONTROL}rollback/", {"reason": "odd"})
    assert ServiceState.objects.get().step == "shared.reads@1"
    assert b"Pausing leaves all traffic where it is" in operator.get(f"{CONTROL}pause/").content
    operator.post(f"{CONTROL}pause/", {"reason": "lunch"})
    page = operator.get(CONTROL)
    assert b"Advance one step" not in page.content
    assert b"Roll back one step" in page.content
    assert b'<span class="badge paused">paused</span>' in page.content
    refused = operator.post(f"{CONTROL}advance/", {"reason": "x"}, follow=True)
    assert "is paused by dana since" in refused.content.decode()
    operator.post(f"{CONTROL}rollback/", {"to": "monolith"})
    assert ServiceState.objects.get().step == "monolith"
    operator.post(f"{CONTROL}resume/", {})
    assert not ServiceState.objects.get().paused
    assert [entry.change_message.partition(":")[0] for entry in LogEntry.objects.order_by("pk")] == [
        "Roll back",
        "Pause",
        "Advance",
        "Roll back",
        "Resume",
    ]


def test_a_gate_stops_here_too_and_an_override_needs_a_reason(operator: Client, numbers: FakeMeasurements) -> None:
    stand_at("orders", "shared.shadow")
    numbers.compared = Comparisons(compared=0, matched=0)
    answer = operator.post(f"{CONTROL}advance/", {"reason": "now"}, follow=True)
    assert "shadow-match-rate is inconclusive (0 samples, 539 missing)" in answer.content.decode()
    assert ServiceState.objects.get().step == "shared.shadow"
    answer = operator.post(f"{CONTROL}advance/", {"reason": " ", "overrides": ["shadow-match-rate"]})
    assert "An overridden gate needs a reason" in answer.content.decode()
    assert ServiceState.objects.get().step == "shared.shadow"
    operator.post(f"{CONTROL}advance/", {"reason": "rehearsal", "overrides": ["shadow-match-rate"]})
    assert ServiceState.objects.get().step == "shared.reads@1"
    assert Evidence.objects.get(overridden=True).gate == "shadow-match-rate"


@pytest.mark.parametrize(
    ("path", "code"),
    [("nothing/", 404), ("nothing/advance/", 404), ("orders/destroy/", 404), ("orders/advance/?to=nowhere", 302)],
)
def test_unknown_names(operator: Client, path: str, code: int) -> None:
    assert operator.get(f"{LIST}{path}").status_code == code


def test_nothing_can_be_added_changed_or_deleted_by_hand(sign_in: SignIn) -> None:
    client = sign_in()
    user = get_user_model().objects.get()
    user.is_superuser = True
    user.save()
    stand_at("orders", "shared.shadow")
    entry = HistoryEntry.objects.get()
    assert client.get(f"{LIST}add/").status_code == 404
    history = "/admin/migrations_plan/historyentry/"
    assert client.get(history).status_code == 200
    assert client.get(f"{history}{entry.pk}/change/").status_code == 200
    assert client.post(f"{history}{entry.pk}/change/", {"actor": "mallory"}).status_code == 403
    assert client.post(f"{history}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.post(f"{history}add/", {"actor": "mallory"}).status_code == 403
    client.post(history, {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"})
    assert HistoryEntry.objects.get().actor == "a test"
    assert client.get(f"{CONTROL}history/").status_code == 302
