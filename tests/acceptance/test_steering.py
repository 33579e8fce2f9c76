"""A change in one process steers the traffic in all others within two seconds."""

import re
import time
from collections.abc import Callable

import pytest
import requests
from waffle.models import Switch

from router.models import Flag
from tests.acceptance.conftest import STEERED_SECONDS, Customer, House, everywhere

pytestmark = pytest.mark.acceptance


@pytest.fixture
def side(stand_at: Callable[..., None], customer: Customer) -> Callable[[], str]:
    """Return a function that asks which side answers, with all reads diverted."""
    Flag.objects.create(name="orders.reads", percent=100)
    stand_at("shared.reads@100", reads=100)
    return lambda: customer.call("GET", "/api/orders/").headers["X-Strangler-Side"]


def steered(side: Callable[[], str], to: str) -> None:
    """Fail unless every worker answers by the side within the time promised."""
    started = time.monotonic()
    everywhere(lambda: side() == to, timeout=STEERED_SECONDS + 3)
    first_wrong_possible = time.monotonic() - started
    assert first_wrong_possible < STEERED_SECONDS + 3


class Admin:
    """Somebody in front of the admin of one process."""

    def __init__(self, house: House, customer: Customer) -> None:
        self.url = house.url
        self.session = requests.Session()
        self.session.trust_env = False
        self.post("/admin/login/", username=customer.user.username, password="demo-password", next="/admin/")

    def post(self, path: str, **fields: str) -> None:
        """Open a form, fill it in and send it off."""
        page = self.session.get(self.url + path, timeout=30)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token, page.text[:500]
        answer = self.session.post(
            self.url + path, data={"csrfmiddlewaretoken": token[1], **fields}, timeout=30, allow_redirects=False
        )
        assert answer.status_code == 302, answer.text


def test_a_flag_turned_off_in_the_admin(
    house: House, side: Callable[[], str], make_customer: Callable[..., Customer]
) -> None:
    flag = Flag.objects.get()
    admin = Admin(house, make_customer(staff=True))
    admin.post(f"/admin/router/flag/{flag.pk}/change/", name=flag.name, everyone="false", percent="100")
    steered(side, "legacy")
    admin.post(f"/admin/router/flag/{flag.pk}/change/", name=flag.name, everyone="unknown", percent="100")
    steered(side, "extracted")


def test_the_kill_switch_in_the_admin(
    house: House, side: Callable[[], str], make_customer: Callable[..., Customer]
) -> None:
    admin = Admin(house, make_customer(staff=True))
    admin.post("/admin/waffle/switch/add/", name="orders.off", active="on")
    steered(side, "legacy")
    Switch.objects.update(active=False)
    steered(side, "extracted")


def test_a_flag_changed_by_update_and_no_signal(side: Callable[[], str]) -> None:
    Flag.objects.update(everyone=False)
    steered(side, "legacy")
    Flag.objects.update(everyone=True)
    steered(side, "extracted")
