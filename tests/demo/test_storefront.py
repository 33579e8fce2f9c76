"""Customers of the pages, in the real shop: what they press takes effect, and what is wrong with it they notice."""

import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from django.test import Client as Browser
from pytest_django import Settings

from demo import storefront
from demo.customers import Client
from demo.forms import read_page
from demo.provider import running
from demo.records import Log
from demo.shopping import DECLINED_CARD, Goods
from demo.storefront import PageCustomer, log_in
from legacy_shop.cart.models import CartLine
from legacy_shop.orders.models import Order
from tests.legacy_shop.samples import make_customer, make_product

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "demo-password"


class InProcess(requests.Session):
    """The shop without a server in between, with Django's check against forged requests."""

    def __init__(self) -> None:
        super().__init__()
        self.browser = Browser(enforce_csrf_checks=True)
        self.refuse: list[tuple[str, int, str]] = []
        """Answers to give instead of the shop's: path, status, body."""
        self.sent: list[tuple[str, Mapping[str, str]]] = []

    def request(self, method: str, url: str, **given: Any) -> requests.Response:  # type: ignore[override]
        path, form = url.removeprefix("http://shop"), given.get("data")
        if method == "POST" and form is not None:
            self.sent.append((path, form))
        for refusal in self.refuse:
            if method == "POST" and refusal[0] == path:
                self.refuse.remove(refusal)
                return self._response(refusal[1], refusal[2].encode(), {"Content-Type": "text/html"})
        body: dict[str, Any] = {"data": form or {}}
        if given.get("json") is not None:
            body = {"data": json.dumps(given["json"]), "content_type": "application/json"}
        call = getattr(self.browser, method.lower())
        answer = call(path) if method == "GET" else call(path, **body, headers=given["headers"])
        return self._response(answer.status_code, answer.content, dict(answer.items()))

    @staticmethod
    def _response(status: int, body: bytes, headers: Mapping[str, str]) -> requests.Response:
        response = requests.Response()
        response.status_code, response._content, response.encoding = status, body, "utf-8"
        response.headers.update(headers)
        return response


@pytest.fixture
def session(tmp_path: Path, settings: Settings) -> Iterator[InProcess]:
    with running(tmp_path / "provider.sqlite3") as server:
        settings.PAYMENT_PROVIDER_URL = server.url
        yield InProcess()


@pytest.fixture
def customer(session: InProcess, monkeypatch: pytest.MonkeyPatch) -> PageCustomer:
    monkeypatch.setattr(storefront, "PRESS_AGAIN_SECONDS", 0.0)
    user = make_customer()
    user.set_password(PASSWORD)
    user.save()
    products = [{"id": make_product("10.00").pk}, {"id": make_product("2.25").pk}]
    client = Client("http://shop", Log(), session=session, sends_keys=False, bucket=1)
    log_in(client, user.username, PASSWORD)
    return PageCustomer(
        user_id=user.pk,
        username=user.username,
        bucket=1,
        client=client,
        dice=random.Random(1),
        goods=Goods(products=products),
    )


def fine(customer: PageCustomer) -> bool:
    log = customer.client.log
    assert (log.failures(), log.differences) == ([], [])
    return True


def test_orders_are_placed_by_the_form_and_read_back(customer: PageCustomer) -> None:
    customer.order_and_pay()
    customer.order()
    customer.order_cart()
    customer.order_declined()
    customer.list_orders()
    assert fine(customer)
    placed = list(Order.objects.order_by("pk"))
    assert [order.note for order in placed] == customer.asked == [d["note"] for d in customer.orders.values()]
    assert [document["payment"] for document in customer.orders.values()] == ["paid", "none", "paid", "failed"]
    assert not CartLine.objects.exists()


def test_buttons_of_an_order_are_pressed(customer: PageCustomer) -> None:
    customer.order()
    customer.move()
    customer.pay()
    customer.cancel()
    assert fine(customer)
    order = Order.objects.get()
    assert order.status == Order.Status.CANCELLED
    assert next(iter(customer.orders.values()))["ship_to"]["street"] == order.ship_street


def test_hidden_fields_go_back_as_they_came(customer: PageCustomer, session: InProcess) -> None:
    customer.order()
    page = read_page(session.browser.get(f"/orders/{Order.objects.get().pk}/").content.decode())
    hidden = set(page.form(f"/orders/{Order.objects.get().pk}/cancel/").values)
    customer.cancel()
    assert fine(customer)
    assert set(session.sent[-1][1]) == hidden >= {"csrfmiddlewaretoken", "once"}


def test_check_out_that_comes_back_is_pressed_again(customer: PageCustomer, session: InProcess) -> None:
    assert customer._fill_cart({customer.goods.products[0]["id"]: 1})
    page = session.browser.get("/checkout/").content.decode()
    session.refuse.append(("/checkout/", 422, page))
    changes = {**customer._new_address(), "address": "new", "card": "", "note": "demo"}
    assert customer._check_out(read_page(page), changes).status == 302
    first, again = [form for path, form in session.sent if path == "/checkout/"]
    assert first == again
    assert first["once"] == read_page(page).form("/checkout/").values["once"]
    assert Order.objects.get().note == "demo"
    assert fine(customer)


def test_press_without_effect_is_noticed(
    customer: PageCustomer, session: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer.order()
    monkeypatch.setattr(storefront, "PATIENCE", 0.0)
    session.refuse.append((f"/orders/{Order.objects.get().pk}/cancel/", 302, ""))
    customer.cancel()
    (difference,) = customer.client.log.differences
    assert "status is 'pending' instead of 'cancelled'" in difference
    assert customer.doubtful == {Order.objects.get().pk}


def test_press_without_effect_is_repeated(customer: PageCustomer, session: InProcess) -> None:
    customer.order()
    session.refuse.append((f"/orders/{Order.objects.get().pk}/cancel/", 302, ""))
    customer.cancel()
    assert fine(customer)
    assert Order.objects.get().status == Order.Status.CANCELLED


def test_other_order_than_the_one_asked_for_is_noticed(customer: PageCustomer) -> None:
    customer.order()
    (document,) = customer.orders.values()
    document["number"] = "another"
    customer.list_orders()
    customer.show_order()
    assert len(customer.client.log.differences) == 3  # by the list, by the heading, by the document


def test_declined_card_that_pays_is_noticed() -> None:
    before = {**dict.fromkeys(storefront.FIXED, "x"), "payment": "none"}
    paid = {**before, "payment": "paid"}
    assert storefront._not_as_due("pay", before, {"card": DECLINED_CARD}, paid) == [
        f"payment is paid with {DECLINED_CARD}"
    ]
    assert storefront._not_as_due("pay", before, {"card": "tok_visa"}, paid) == []
