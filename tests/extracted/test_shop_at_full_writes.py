"""With all writes of orders diverted, the monolith's own pages, commands and tasks write no order any more.

The same customers, staff and night are played twice: at `monolith`, where the monolith's statements on order tables are
counted and found, and at `shared.writes` 100 %, where there are none while everything has happened all the same.
"""

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from demo.provider import ProviderServer, running
from legacy_shop.accounts.models import LoyaltyBooking
from legacy_shop.catalog.models import Product
from legacy_shop.orders.models import Order
from legacy_shop.orders.services import LineRequest, ShipTo, place_order
from legacy_shop.payments.models import PaymentAttempt
from legacy_shop.payments.services import settle_open
from migrations_plan.sync.events.testing import deliver_all
from router import breaker, metrics
from router.models import TrafficCount
from router.testing import override_envelope
from tests.extracted import shop
from tests.extracted.conftest import Service

WRITES = re.compile(r"^\s*(INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+\"?orders_(order|orderline)\b", re.IGNORECASE)
HIDDEN = re.compile(r'name="(seen_total|once)" value="([^"]+)"')


class Counter:
    """Counts the statements of this process that write order tables, raw SQL and bulk statements among them."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if WRITES.match(sql):
            self.statements.append(sql)
        return execute(sql, params, many, context)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderServer]:
    with running(tmp_path_factory.mktemp("provider") / "ledger.sqlite3") as server:
        yield server


@pytest.fixture(params=[0, 100], ids=["monolith", "shared.writes@100"])
def percent(request: pytest.FixtureRequest, service: Service, provider: ProviderServer, settings: Any) -> Iterator[int]:
    """Divert nothing, or everything, to the running service."""
    strangler = copy.deepcopy(settings.STRANGLER)
    strangler["SERVICES"]["orders"]["UPSTREAMS"] = {"shared": service.url}
    settings.STRANGLER, settings.PAYMENT_PROVIDER_URL = strangler, provider.url
    breaker.reset()
    with override_envelope("orders", reads=request.param, writes=request.param):
        yield request.param
    breaker.reset()


@pytest.fixture
def product() -> Product:
    return shop.make_product("12.50", on_hand=100)


@pytest.fixture
def customer() -> User:
    return shop.make_customer(email="ann@example.com")


@pytest.fixture
def shopper(customer: User) -> Client:
    client = Client()
    client.force_login(customer)
    return client


@contextmanager
def counted(percent: int) -> Iterator[None]:
    """Fail if the monolith writes orders where the service should, and if it writes none where it should."""
    counter = Counter()
    with connection.execute_wrapper(counter):
        yield
    assert bool(counter.statements) is (percent == 0), counter.statements


def fields_of(page: str, action: str = "") -> dict[str, str]:
    """Return the hidden fields of a page's form."""
    begin = page.index(f'action="{action}"') if action else 0
    return dict(HIDDEN.findall(page, begin))


def order_something(shopper: Client, product: Product, **more: str) -> Order:
    """Buy two on the pages, as a browser does."""
    shopper.post(f"/cart/add/{product.pk}/", {"quantity": 2})
    page = shopper.get("/checkout/").content.decode()
    sent = {"address": "new", **shop.HOME, **fields_of(page), **more}
    answer = shopper.post("/checkout/", sent)
    assert answer.status_code == 302, answer.content.decode()
    again = shopper.post("/checkout/", sent)  # an impatient click
    assert again.headers["Location"] == answer.headers["Location"]
    return Order.objects.latest("pk")


def test_checkout_with_a_card(percent: int, shopper: Client, customer: User, product: Product) -> None:
    with counted(percent):
        order = order_something(shopper, product, card="tok_visa", note="ring", save_address="on")
    assert Order.objects.count() == 1
    assert (order.customer, order.status, order.total, order.note) == (customer, 20, Decimal("25.00"), "ring")
    assert (shop.on_hand(product), order.payment_attempts.get().state) == (98, "succeeded")
    assert customer.addresses.get().street == shop.HOME["street"]
    page = shopper.get(f"/orders/{order.pk}/").content.decode()
    assert (order.number in page, "payment received" in page) == (True, True)
    deliver_all()
    assert [message.extra_headers["X-Shop-Mail"] for message in mail.outbox] == ["placed", "paid"]
    assert LoyaltyBooking.objects.get().points == 25


def test_a_page_sent_late_is_refused_and_says_why(percent: int, shopper: Client, product: Product) -> None:
    shopper.post(f"/cart/add/{product.pk}/", {"quantity": 1})
    page = shopper.get("/checkout/").content.decode()
    Product.objects.update(price=Decimal("13.00"))
    answer = shopper.post("/checkout/", {"address": "new", **shop.HOME, **fields_of(page)})
    assert (answer.status_code, "Your cart or its prices have changed" in answer.content.decode()) == (422, True)
    assert not Order.objects.exists()


def test_redirecting_and_cancelling(percent: int, shopper: Client, product: Product) -> None:
    order = order_something(shopper, product)
    page = shopper.get(f"/orders/{order.pk}/").content.decode()
    moved = {f"to-{name}": value for name, value in {**shop.HOME, "city": "Bern"}.items()}
    with counted(percent):
        shopper.post(f"/orders/{order.pk}/address/", {**moved, **fields_of(page, f"/orders/{order.pk}/address/")})
    with counted(percent):
        shopper.post(f"/orders/{order.pk}/cancel/", fields_of(page, f"/orders/{order.pk}/cancel/"))
    order.refresh_from_db()
    assert (order.ship_city, order.status, shop.on_hand(product)) == ("Bern", Order.Status.CANCELLED, 100)
    refused = shopper.post(f"/orders/{order.pk}/cancel/", follow=True).content.decode()
    assert "can no longer be cancelled" in refused


def test_paying_later(percent: int, shopper: Client, product: Product) -> None:
    order = order_something(shopper, product)
    with counted(percent):
        shopper.post(f"/orders/{order.pk}/pay/", {"card": "tok_visa"})
    order.refresh_from_db()
    assert (order.status, order.paid_at) == (Order.Status.PAID, order.payment_attempts.get().settled_at)


def test_staff(percent: int, shopper: Client, product: Product) -> None:
    orders = [order_something(shopper, product) for _ in range(2)]
    staff = Client()
    staff.force_login(User.objects.create_superuser("admin", "admin@example.com", "x"))
    form = {f"ship_{name}": value for name, value in {**shop.HOME, "city": "Basel"}.items()}
    for inline in ("lines", "payment_attempts"):
        form |= {f"{inline}-TOTAL_FORMS": "0", f"{inline}-INITIAL_FORMS": "0"}
    with counted(percent):
        page = staff.post(f"/admin/orders/order/{orders[0].pk}/change/", form, follow=True)
    assert f"Order {orders[0].number} goes to the new address." in page.content.decode()
    with counted(percent):
        staff.post("/admin/orders/order/", {"action": "cancel", "_selected_action": [orders[1].pk]}, follow=True)
    orders[0].refresh_from_db()
    orders[1].refresh_from_db()
    assert (orders[0].ship_city, orders[1].status) == ("Basel", Order.Status.CANCELLED)
    assert LogEntry.objects.count() == 2


def test_the_night(percent: int, shopper: Client, product: Product) -> None:
    stale, fresh = (order_something(shopper, product) for _ in range(2))
    Order.objects.filter(pk=stale.pk).update(placed_at=timezone.now() - timedelta(days=2))
    out = StringIO()
    with counted(percent):
        call_command("expire_orders", stdout=out)
    assert "expired 1 orders and gave back 2 pieces" in out.getvalue()
    assert list(Order.objects.order_by("pk").values_list("status", flat=True)) == [95, 10]
    assert shop.on_hand(product) == 98
    call_command("expire_orders", stdout=out)
    assert "expired 0 orders" in out.getvalue()
    assert fresh.pk > stale.pk


def test_the_settling_task_tells_orders_of_their_money(percent: int, product: Product, customer: User) -> None:
    order = place_order(
        customer=customer,
        lines=[LineRequest(product.pk, 1)],
        ship_to=ShipTo(**shop.HOME),
        card="tok_visa",
    )
    with counted(percent):
        settle_open(older_than=timedelta(0))
    order.refresh_from_db()
    assert (order.status, PaymentAttempt.objects.get().told_at is not None) == (Order.Status.PAID, True)


def test_an_order_cancelled_while_it_was_charged_gets_its_money_back(
    percent: int, product: Product, customer: User, provider: ProviderServer
) -> None:
    order = place_order(
        customer=customer, lines=[LineRequest(product.pk, 1)], ship_to=ShipTo(**shop.HOME), card="tok_visa"
    )
    Order.objects.filter(pk=order.pk).update(status=Order.Status.CANCELLED)
    settle_open(older_than=timedelta(0))
    settle_open(older_than=timedelta(0))
    order.refresh_from_db()
    assert order.status == Order.Status.CANCELLED
    kinds = PaymentAttempt.objects.order_by("pk").values_list("kind", "state")
    assert list(kinds) == [("charge", "succeeded"), ("refund", "succeeded")]


def test_the_report_says_the_same(percent: int) -> None:
    customers = [shop.make_customer(), shop.make_customer(), shop.make_customer(is_staff=True)]
    home = shop.make_address(customers[0], city="Genf")
    products = [shop.make_product("10.00"), shop.make_product("0.10")]
    for number in range(12):
        order = shop.make_order(
            customers[number % 3],
            (products[0], 1 + number % 2),
            (products[1], 3),
            status="PAID",
            paid_at=shop.NOON + timedelta(days=9 * number),
            shipping_address=home if number % 3 == 0 else None,
        )
        shop.make_attempt(order)
        if number % 4 == 0:
            shop.make_attempt(order, "refund")
    out = StringIO()
    call_command("sales_report", "--json", stdout=out)
    with override_envelope("orders"):
        expected = StringIO()
        call_command("sales_report", "--json", stdout=expected)
    assert out.getvalue() == expected.getvalue()
    assert out.getvalue().count('"month"') == 4
    metrics.flush()
    sides = set(TrafficCount.objects.filter(route="seam:sales").values_list("side", flat=True))
    assert ("extracted" in sides) is (percent == 100)


def test_imports_that_would_write_past_the_service_refuse(percent: int, tmp_path: Any) -> None:
    if percent:
        with pytest.raises(CommandError, match="past it"):
            call_command("seed_shop", products=2, customers=1, orders=1, verbosity=0)
    else:
        call_command("seed_shop", products=2, customers=1, orders=1, verbosity=0)
    assert Order.objects.exists() is (percent == 0)
