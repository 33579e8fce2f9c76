"""A change in one process steers the traffic in all others within two seconds."""

import re
import time
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
import requests
from waffle.models import Switch

from router.models import Flag
from tests.acceptance.conftest import STEERED_SECONDS, Customer, House, answered_by, everywhere

pytestmark = [pytest.mark.acceptance, pytest.mark.any_database]

Read = Callable[[], requests.Response]


@pytest.fixture
def read(stand_at: Callable[..., None], customer: Customer) -> Read:
    """Return a function that reads a customer's orders, with all reads diverted."""
    Flag.objects.create(name="orders.reads", percent=100)
    stand_at("shared.reads@100", reads=100)
    return lambda: customer.call("GET", "/api/orders/")


def expect_steered(read: Read, to: str) -> None:
    """Fail unless every worker has gone over to the side within the time promised."""
    changed = time.monotonic()
    since = everywhere(read, lambda answer: answered_by(answer) == to)
    assert since - changed < STEERED_SECONDS


class Form(HTMLParser):
    """What a browser would send back from a page's fields, as they are filled in."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect an input field's value."""
        given = dict(attrs)
        if tag == "input" and given.get("type") in {"text", "number", "hidden"} and given.get("name"):
            self.fields[str(given["name"])] = given.get("value") or ""


class Admin:
    """Somebody in front of the admin of one process."""

    def __init__(self, house: House, customer: Customer) -> None:
        self.url = house.url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Connection"] = "close"
        self.post("/admin/login/", username=customer.user.username, password="demo-password", next="/admin/")

    def post(self, path: str, **fields: str) -> None:
        """Open a form, fill it in and send it off."""
        page = self.session.get(self.url + path, timeout=30)
        answer = self.session.post(
            self.url + path, data={**Form(page.text).fields, **fields}, timeout=30, allow_redirects=False
        )
        assert answer.status_code == 302, re.findall(r'(?s)<ul class="errorlist.*?</ul>', answer.text)


def test_a_flag_turned_off_in_the_admin(house: House, read: Read, make_customer: Callable[..., Customer]) -> None:
    flag = Flag.objects.get()
    admin = Admin(house, make_customer(staff=True))
    admin.post(f"/admin/router/flag/{flag.pk}/change/", name=flag.name, everyone="false", percent="100")
    expect_steered(read, "legacy")
    admin.post(f"/admin/router/flag/{flag.pk}/change/", name=flag.name, everyone="unknown", percent="100")
    expect_steered(read, "extracted")


def test_the_kill_switch_in_the_admin(house: House, read: Read, make_customer: Callable[..., Customer]) -> None:
    admin = Admin(house, make_customer(staff=True))
    admin.post("/admin/waffle/switch/add/", name="orders.off", active="on")
    expect_steered(read, "legacy")
    Switch.objects.update(active=False)
    expect_steered(read, "extracted")


def test_a_flag_changed_by_update_and_no_signal(read: Read) -> None:
    Flag.objects.update(everyone=False)
    expect_steered(read, "legacy")
    Flag.objects.update(everyone=True)
    expect_steered(read, "extracted")
