"""The status of a service tells what does not fit together, and every page still shows."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone

from migrations_plan import api, pages
from migrations_plan.builders import monolith, shared
from migrations_plan.gates import Comparisons
from migrations_plan.models import ServiceState
from migrations_plan.plan import Plan
from migrations_plan.testing import override_plans, stand_at
from tests.migrations_plan.fakes import ALICE, FakeMeasurements

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("orders_plan", "numbers")]


def every_page(client: Client) -> list[int]:
    """Return the status codes of the list and the control page."""
    base = "/admin/migrations_plan/servicestate/"
    return [client.get(url).status_code for url in (base, f"{base}orders/")]


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    return client


def test_a_plan_that_was_changed_under_a_service(admin: Client) -> None:
    stand_at("orders", "shared.reads@10")
    phase = shared()
    steps = tuple(replace(step, reads=20) if step.name == "shared.reads@10" else step for step in phase.steps)
    with override_plans(Plan(service="orders", phases=(monolith(), replace(phase, steps=steps)))):
        status = api.status("orders")
        assert "in force (reads 10 %, writes 0 %, shadow 100 %)" in status.warnings[0]
        assert every_page(admin) == [200, 200]
    assert api.status("orders").warnings == ()


def test_a_step_that_the_plan_does_not_have_any_more(admin: Client) -> None:
    stand_at("orders", "shared.reads@10")
    with override_plans(Plan(service="orders", phases=(monolith(), shared(reads=(5, 100))))):
        status = api.status("orders")
        assert (status.step, status.next_step, status.gates) == (None, None, ())
        assert "'shared.reads@10', which its plan does not have" in status.warnings[0]
        assert "shared.reads@10" in pages.one(status, 120)
        assert "which its plan does not have" in pages.overview([status], 200)
        assert every_page(admin) == [200, 200]


def test_a_step_that_was_begun_to_be_undone() -> None:
    stand_at("orders", "shared.reads@10")
    ServiceState.objects.update(moving_to="shared.reads@1", moving_direction="backwards")
    assert api.status("orders").warnings[0].startswith("shared.reads@10 was begun, last backwards, and is neither")


@pytest.mark.parametrize("alive", [True, False])
def test_a_step_that_was_begun(admin: Client, alive: bool) -> None:
    stand_at("orders", "shared.reads@1")
    until = timezone.now() + timedelta(minutes=1 if alive else -1)
    ServiceState.objects.update(
        moving_to="shared.reads@10", moving_direction="forwards", holder="carol, process 1", lease_until=until
    )
    status = api.status("orders")
    text = pages.one(status, 120)
    assert ("carol, process 1 is moving it, forwards" in text) == alive
    assert ("`phase advance orders` finishes it" in text) != alive
    assert ("shared.reads@10 was begun, last forwards, and is neither done nor undone" in text) != alive
    assert "  .. shared.reads@10" in text
    assert status.as_json()["moving"]["to"] == "shared.reads@10"
    assert "(moving)" in pages.overview([status], 120)
    page = admin.get("/admin/migrations_plan/servicestate/orders/").content
    assert b"Finish the step" in page
    assert b"Undo the step" in page
    assert every_page(admin) == [200, 200]


def test_recorded_evidence_is_shown_with_its_age(admin: Client, numbers: FakeMeasurements) -> None:
    stand_at("orders", "shared.shadow")
    numbers.compared = Comparisons(compared=0, matched=0)
    assert api.advance("orders", None, ALICE).stop is not None
    text = pages.one(api.status("orders"), 160)
    assert "Recorded evidence:" in text
    assert "0 s ago" in text
    assert "min left" in text
    assert b"Recorded evidence" in admin.get("/admin/migrations_plan/servicestate/orders/").content


def test_no_plan_at_all() -> None:
    with override_plans():
        assert api.services() == ()
        assert "register one" in pages.overview([], 120)


def test_the_last_step_has_nothing_missing() -> None:
    stand_at("orders", "shared")
    status = api.status("orders")
    assert pages.missing(status) == "nothing: this is the last step"
    assert "this is the last step" in pages.one(status, 120)
