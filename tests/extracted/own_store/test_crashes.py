"""The service is killed at each moment of a write; the client asks again, and all of it has happened once."""

from pathlib import Path
from typing import Any

import pytest
import requests
from django.contrib.auth.models import User

from demo.provider import ProviderServer
from extracted.orders.own_store import models as kept
from legacy_shop.catalog.models import Product
from migrations_plan.sync.events.models import OutboxEvent
from tests.extracted import shop
from tests.extracted.conftest import Service
from tests.extracted.own_store.asking import (
    CARD,
    attempts,
    cancel,
    ended,
    held,
    moved,
    orders,
    place,
    refusing_orders,
    resume,
    wish,
)
from tests.own import ALIAS
from tests.processes import wait_until

pytestmark = [pytest.mark.django_db(databases=["default", "own"], transaction=True), pytest.mark.any_database]
PLACING = (
    "begun",
    "before reserve",
    "after reserve",
    "noted reserve",
    "crossing",
    "crossed",
    "before confirm",
    "after confirm",
    "noted confirm",
    "provider asked",
    "settled",
)
CANCELLING = ("enlisted", "before restock", "after restock", "noted restock", "provider asked", "settled")


def die(own: Service, crash_file: Path, point: str, ask: Any) -> None:
    """Have the service's worker killed at a moment of a request, and wait until another one answers."""
    crash_file.write_text(point)
    with pytest.raises(requests.ConnectionError):
        ask()
    assert not crash_file.exists()
    wait_until(lambda: own.call("GET", "/health/").status_code == 200, "another worker answers")


def answered(own: Service, ask: Any) -> Any:
    """Ask again, as a client does, once what the dead worker held has run out."""
    resume(own)
    answer = ask()
    assert answer.status_code < 400, answer.text
    resume(own)
    return answer


@pytest.mark.parametrize("point", PLACING)
def test_placing(
    own: Service, crash_file: Path, customer: User, product: Product, bank: ProviderServer, point: str
) -> None:
    def ask() -> Any:
        return place(own, customer, wish(product, 3, card=CARD), key="k")

    die(own, crash_file, point, ask)
    order = answered(own, ask).json()["id"]
    assert [row.pk for row in kept.Order.objects.all()] == [order]
    assert (orders(), shop.on_hand(product)) == ([("paid", 3750)], 7)
    assert (attempts(), moved(bank, "charge")) == ([("charge", "succeeded")], [("succeeded", 3750)])
    assert set(held()) <= {"confirmed", "released"}
    assert (held()["confirmed"], ended()["done"], set(ended()) <= {"done", "compensated"}) == (1, 1, True)
    told = OutboxEvent.objects.using(ALIAS).order_by("pk").values_list("type", flat=True)
    assert list(told) == ["orders.order.placed", "orders.order.paid"]


@pytest.mark.parametrize("point", CANCELLING)
def test_cancelling(
    own: Service, crash_file: Path, customer: User, product: Product, bank: ProviderServer, point: str
) -> None:
    order = place(own, customer, wish(product, 3, card=CARD)).json()["id"]

    def ask() -> Any:
        return cancel(own, customer, order, key="c")

    die(own, crash_file, point, ask)
    answered(own, ask)
    assert (orders(), shop.on_hand(product)) == ([("cancelled", 3750)], 10)
    assert attempts() == [("charge", "succeeded"), ("refund", "succeeded")]
    assert moved(bank, "charge") == moved(bank, "refund") == [("succeeded", 3750)]
    assert ended() == {"done": 2}


@pytest.mark.parametrize("point", ["turned back", "before undoing reserve", "after undoing reserve"])
def test_undoing(own: Service, crash_file: Path, customer: User, product: Product, point: str) -> None:
    """The cart is held by nobody afterwards, and the pieces are back."""
    shop.fill_cart(customer, (product, 2))
    with refusing_orders():
        die(own, crash_file, point, lambda: place(own, customer, {"cart": True, "address": shop.HOME}))
        resume(own)
    assert (orders(), shop.on_hand(product), held(), ended()) == ([], 10, {"released": 1}, {"compensated": 1})
    assert place(own, customer, {"cart": True, "address": shop.HOME}).status_code == 201
