"""On its own store the service answers what it answers on the shared one, byte for byte."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections

from extracted.orders.own_store import models as own
from legacy_shop.orders.models import Order
from legacy_shop.payments.models import PaymentAttempt
from router.identity import Identity
from tests.extracted import shop
from tests.extracted.conftest import Service
from tests.extracted.sides import Sides
from tests.extracted.test_orders_contract import READS, make_history
from tests.own import ALIAS
from tests.own.rows import carry

pytestmark = pytest.mark.django_db(databases=["default", ALIAS])

MONOLITH = Identity(subject="monolith", kind="service", staff=True)


@pytest.fixture(scope="module")
def history(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """Return orders in every state that both sides have; nothing in this module changes any of them."""
    with django_db_blocker.unblock():
        made = make_history()
        pay_some(made)
        carry(Order.objects.values_list("pk", flat=True))
        yield made
        shop.clear()
        own.Order.objects.all().delete()


def pay_some(made: dict[str, Any]) -> None:
    """Let some of the orders count as sold, from an entry of the address book and not, and one of them go back."""
    home = shop.make_address(made["ann"])
    orders = Order.objects.filter(customer=made["ann"]).order_by("pk")
    for number, order in enumerate(orders[:9]):
        Order.objects.filter(pk=order.pk).update(
            paid_at=shop.NOON if number % 4 else None, shipping_address=home if number % 2 else None
        )
    assert PaymentAttempt.objects.filter(kind="refund", state="succeeded", order__paid_at__isnull=False).exists()


@pytest.fixture
def sides(history: dict[str, Any], own_process: Service) -> Sides:
    """Return the monolith, and the service on its own store."""
    return Sides(own_process)


@pytest.mark.parametrize("path", READS)
def test_reads(sides: Sides, history: dict[str, Any], path: str) -> None:
    path = path.format(order=history["order"].pk, foreign=history["foreign"].pk)
    for who in ("ann", "bob", "boss", None):
        sides.both("GET", path, history.get(who) if who else None)


@pytest.mark.parametrize(
    "query", ["", "?limit=1", "?limit=5", "?after=3&limit=2", "?after=9223372036854775807", "?limit=0"]
)
def test_sold_lines(history: dict[str, Any], own_process: Service, service_process: Service, query: str) -> None:
    path = f"/internal/orders/sold-lines/{query}"
    answers = [service.call("GET", path, MONOLITH) for service in (own_process, service_process)]
    assert answers[0].content == answers[1].content
    assert answers[0].status_code == answers[1].status_code == (400 if query == "?limit=0" else 200)
    if not query:
        lines = answers[0].json()["results"]
        assert {line["refunded"] for line in lines} == {True, False}
        assert {line["address"] is None for line in lines} == {True, False}


def test_shadows_are_answered(sides: Sides, history: dict[str, Any], own_process: Service) -> None:
    who = shop.identity(history["ann"])
    shadow = own_process.call("GET", "/api/orders/", who, headers={"X-Strangler-Shadow": "1"})
    assert (shadow.status_code, shadow.json()["count"]) == (200, 23)


def test_health(history: dict[str, Any], own_process: Service) -> None:
    ready = own_process.call("GET", "/health/ready/").json()
    vendor = connections[ALIAS].vendor
    assert ready == {"status": "ready", "service": "orders", "store": "own", "database": vendor}
