"""What the shop still does about orders that the service owns: pay, settle, expire, resume, hand events on."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail, signing
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from rest_framework.authtoken.models import Token

from demo.provider import Control, ProviderServer
from extracted.orders.own_store import models as kept
from legacy_shop.accounts.models import LoyaltyBooking
from legacy_shop.catalog.models import Product
from legacy_shop.orders import handover
from legacy_shop.orders.models import Order
from legacy_shop.orders.tasks import hand_events_on, resume_at_service
from legacy_shop.payments.models import PaymentAttempt
from legacy_shop.payments.services import run_due_attempts, settle_open
from migrations_plan.sync.events.models import Delivery, InboxEvent
from migrations_plan.sync.events.testing import deliver_all
from migrations_plan.sync.models import Mark
from router.handover import own_writes
from router.idempotency.models import IdempotencyKey
from router.sagas.models import Outcome, Saga
from router.service.headers import WROTE_HEADER
from tests.extracted import shop
from tests.extracted.conftest import Service
from tests.extracted.own_store.asking import AGO, CARD, DECLINED, MONOLITH, attempts, cancel, moved, orders, place, wish
from tests.own import ALIAS
from tests.own.rows import LEGACY, OWN, carry

pytestmark = pytest.mark.django_db(databases=["default", "own"], transaction=True)
AT_ONCE = timedelta(0)


def pay(customer: User, order: int, card: str = CARD, key: str = "") -> Any:
    """Pay on the shop's API."""
    headers = {"Authorization": f"Token {Token.objects.get_or_create(user=customer)[0].key}"}
    if key:
        headers["Idempotency-Key"] = key
    body = json.dumps({"card": card})
    return Client().post(f"/api/orders/{order}/pay/", body, content_type="application/json", headers=headers)


def carried(order: int) -> Order:
    """Bring an order of the service to the shop, as sync does, and return the shop's copy."""
    carry([order], source=OWN, target=LEGACY)
    return Order.objects.get(pk=order)


def untouched(order: Order) -> bool:
    """Whether the shop's copy is as it arrived."""
    before = order.status, list(order.payment_attempts.values_list("state", "told_at"))
    now = Order.objects.get(pk=order.pk)
    return (now.status, list(now.payment_attempts.values_list("state", "told_at"))) == before


# --- paying -------------------------------------------------------------------------------------------------


def test_paying_on_the_api(own: Service, customer: User, product: Product, bank: ProviderServer) -> None:
    order = place(own, customer, wish(product)).json()["id"]
    copy = carried(order)
    paid = pay(customer, order, key="k")
    assert (paid.status_code, paid.json()["status"], paid.json()["payment"]) == (200, "paid", "paid"), paid.content
    again = pay(customer, order, key="k")
    assert (again.content, again.headers["Idempotency-Replayed"]) == (paid.content, "true")
    refused = pay(customer, order, key="another")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_payable")
    assert refused.json()["detail"].endswith("is paid and waits for no money.")
    assert (attempts(), moved(bank, "charge")) == ([("charge", "succeeded")], [("succeeded", 1250)])
    assert untouched(copy)
    assert not PaymentAttempt.objects.exists()


def test_who_has_paid_is_told_which_version_that_made(
    fenced: None, own: Service, customer: User, product: Product
) -> None:
    """The shop's view asks the service through a seam; a copy that is behind must not show the order unpaid."""
    order = place(own, customer, wish(product)).json()["id"]
    paid = pay(customer, order)
    mark = Mark.objects.using(ALIAS).get(aggregate="orders", key=str(order))
    assert signing.loads(paid.headers[WROTE_HEADER], salt=own_writes.SALT) == [["orders", str(order), mark.gen]]


def test_a_declined_card_and_another_one(own: Service, customer: User, product: Product) -> None:
    order = place(own, customer, wish(product)).json()["id"]
    declined = pay(customer, order, DECLINED, key="k")
    assert (declined.status_code, declined.json()["code"]) == (402, "declined")
    assert declined.json()["detail"] == "The card was declined: card_declined."
    assert pay(customer, order, DECLINED, key="k").content == declined.content
    assert pay(customer, order).json()["payment"] == "paid"
    assert attempts() == [("charge", "failed"), ("charge", "succeeded")]


def test_only_ones_own_orders_are_paid(own: Service, customer: User, product: Product) -> None:
    order = place(own, customer, wish(product)).json()["id"]
    assert pay(shop.make_customer(), order).status_code == 404
    assert attempts() == []


def test_a_client_that_lost_the_answer_asks_again(own: Service, customer: User, product: Product) -> None:
    """The shop dies after the service has charged: the same key finds that charge, and makes no other."""
    order = place(own, customer, wish(product)).json()["id"]
    first = pay(customer, order, key="k")
    IdempotencyKey.objects.filter(scope="payments").delete()
    assert pay(customer, order, key="k").json() == first.json()
    assert attempts() == [("charge", "succeeded")]


def test_paying_on_the_pages(own: Service, customer: User, product: Product) -> None:
    order = place(own, customer, wish(product)).json()["id"]
    shopper = Client()
    shopper.force_login(customer)
    page = shopper.post(f"/orders/{order}/pay/", {"card": CARD}, follow=True).content.decode()
    assert ("Your payment has arrived" in page, orders()) == (True, [("paid", 1250)])
    page = shopper.post(f"/orders/{order}/pay/", {"card": CARD}, follow=True).content.decode()
    assert "waits for no money" in page
    assert len(attempts()) == 1


def test_without_the_provider_it_stays_open(
    own: Service, customer: User, product: Product, bank: ProviderServer
) -> None:
    order = place(own, customer, wish(product)).json()["id"]
    bank.control = Control(fail_rate=1.0)
    assert pay(customer, order).json()["payment"] == "open"
    bank.control = Control()
    refused = pay(customer, order)
    assert refused.json()["detail"].endswith("has a charge already, which is open.")


# --- settling -----------------------------------------------------------------------------------------------


def test_the_shop_has_the_service_settle_and_touches_no_copy(
    own: Service, customer: User, product: Product, bank: ProviderServer
) -> None:
    bank.control = Control(fail_rate=1.0)
    order = place(own, customer, wish(product, card=CARD)).json()["id"]
    copy = carried(order)
    bank.control = Control()
    run_due_attempts(order)
    assert (attempts(), moved(bank, "charge")) == ([("charge", "open")], [])
    report = settle_open(older_than=AT_ONCE)
    assert str(report).endswith("0 still open; the service settles 1 orders")
    assert (report.found, attempts(), orders()) == (0, [("charge", "succeeded")], [("paid", 1250)])
    assert untouched(copy)
    assert moved(bank, "charge") == [("succeeded", 1250)]


def test_the_beat_has_the_service_go_on(
    own: Service, customer: User, product: Product, bank: ProviderServer, synced: None
) -> None:
    bank.control = Control(fail_rate=1.0)
    place(own, customer, wish(product, card=CARD))
    bank.control = Control()
    kept.Attempt.objects.update(opened_at=timezone.now() - AGO)
    Outcome.objects.using(ALIAS).filter(step="confirm").delete()
    Saga.objects.using(ALIAS).update(state="committed", finished_at=None, step=2, lease_until=timezone.now() - AGO)
    assert handover.resume() == {"sagas": 1, "finished": 1, "attempts": 1, "settled": 1}
    assert resume_at_service() == "{'sagas': 0, 'finished': 0, 'attempts': 0, 'settled': 0}"
    assert orders() == [("paid", 1250)]


def test_it_is_left_alone_before_it_has_a_store_and_while_it_is_away(own: Service, settings: Any) -> None:
    assert (handover.resume(), handover.hand_events_on()) == ({}, handover.Handed())
    settings.STRANGLER["SERVICES"]["orders"]["UPSTREAMS"] = {"own": "http://127.0.0.1:1"}
    assert handover.resume() == {}


def test_it_is_away(own: Service, synced: None, settings: Any) -> None:
    settings.STRANGLER["SERVICES"]["orders"]["UPSTREAMS"] = {"own": "http://127.0.0.1:1"}
    assert (handover.resume(), handover.hand_events_on()) == ({}, handover.Handed())


# --- the night ----------------------------------------------------------------------------------------------


def test_the_night_asks_the_service(own: Service, customer: User, product: Product) -> None:
    stale, fresh = (place(own, customer, wish(product, 2)).json()["id"] for _ in range(2))
    kept.Order.objects.filter(pk=stale).update(ordered_at=timezone.now() - timedelta(days=2))
    copies = [carried(order) for order in (stale, fresh)]
    out = StringIO()
    call_command("expire_orders", stdout=out, stderr=StringIO())
    assert "expired 1 orders and gave back 2 pieces" in out.getvalue()
    assert (orders(), shop.on_hand(product)) == ([("expired", 2500), ("pending", 2500)], 8)
    assert all(untouched(copy) for copy in copies)


# --- events -------------------------------------------------------------------------------------------------


def test_mails_and_points_come_once(own: Service, customer: User, product: Product, synced: None) -> None:
    order = place(own, customer, wish(product, 2, card=CARD)).json()["id"]
    cancel(own, customer, order)
    assert handover.hand_events_on() == handover.Handed(events=3, new=3)
    assert hand_events_on() == "Handed(events=0, new=0)"
    deliver_all()
    mails = [message.extra_headers["X-Shop-Mail"] for message in mail.outbox]
    assert mails == ["placed", "paid", "cancelled"]
    assert sum(LoyaltyBooking.objects.values_list("points", flat=True)) == 0
    assert LoyaltyBooking.objects.count() == 2
    assert {row.stream for row in InboxEvent.objects.all()} == {"orders"}
    assert not Delivery.objects.using(ALIAS).filter(acked_at=None).exists()


def test_an_answer_that_got_lost_is_given_again(own: Service, customer: User, product: Product, synced: None) -> None:
    place(own, customer, wish(product))
    taken = own.call("POST", "/internal/events/take/", MONOLITH, body={"consumer": "shop"}).json()["events"]
    assert ([event["type"] for event in taken], handover.hand_events_on().events) == (["orders.order.placed"], 0)
    Delivery.objects.using(ALIAS).update(next_at=timezone.now() - AGO)
    assert handover.hand_events_on() == handover.Handed(events=1, new=1)
    Delivery.objects.using(ALIAS).update(next_at=timezone.now() - AGO, acked_at=None)
    assert handover.hand_events_on() == handover.Handed(events=1, new=0)
