"""Mails and loyalty points follow an order through its life, once each, whoever changed it."""

from email import message_from_bytes
from pathlib import Path

import pytest
from django.core import mail
from django.db import transaction

from demo.provider import ProviderServer
from legacy_shop.accounts.models import LoyaltyBooking, Profile
from legacy_shop.orders.integration import OrderCancelled, OrderPaid, OrderPlaced
from legacy_shop.orders.models import Order
from legacy_shop.orders.services import cancel_order
from legacy_shop.payments.services import pay_order
from migrations_plan.sync.events.api import declared_types, publish
from migrations_plan.sync.events.envelopes import Envelope
from migrations_plan.sync.events.models import HandlerRun, OutboxEvent
from migrations_plan.sync.events.testing import LocalSender, deliver_all
from tests.legacy_shop.samples import GOOD, make_order, make_product

pytestmark = pytest.mark.django_db


def subjects(order: Order) -> list[str]:
    return [message.subject.replace(order.number, "N") for message in mail.outbox]


def by_the_service(kind: type, order: Order) -> None:
    """Publish what the service publishes for an order of its own."""
    with transaction.atomic():
        publish(
            kind(
                order=order.pk,
                number=order.number,
                customer=order.customer_id,
                total=order.total,
                currency=order.currency,
            ),
            key=order.pk,
            owner=order.customer_id,
        )


@pytest.mark.django_db(transaction=True)
def test_through_its_life(provider: ProviderServer) -> None:
    order = make_order(product=make_product("12.50"), quantity=2)
    pay_order(order.pk, GOOD)
    deliver_all()
    profile = Profile.objects.get(user=order.customer)
    assert (profile.loyalty_points, LoyaltyBooking.objects.get(order=order).points) == (25, 25)

    cancel_order(order.pk)
    deliver_all()

    profile.refresh_from_db()
    assert profile.loyalty_points == 0
    assert [booking.points for booking in LoyaltyBooking.objects.order_by("pk")] == [25, -25]
    assert subjects(order) == ["Your order N", "Payment of order N", "Order N is cancelled"]
    assert mail.outbox[0].to == [order.customer.email]


def test_everything_at_once_is_done_in_order() -> None:
    """Nothing was delivered while the order lived; then all of it is."""
    order = make_order()
    for kind in (OrderPaid, OrderCancelled):
        by_the_service(kind, order)
    deliver_all()
    assert subjects(order) == ["Your order N", "Payment of order N", "Order N is cancelled"]
    assert [booking.points for booking in LoyaltyBooking.objects.order_by("pk")] == [12, -12]


def test_an_order_cancelled_before_it_was_paid_gives_no_points() -> None:
    cancel_order(make_order().pk)
    deliver_all()
    assert not LoyaltyBooking.objects.exists()


def test_events_that_come_twice_do_nothing_twice() -> None:
    order = make_order()
    by_the_service(OrderPaid, order)
    deliver_all()
    for event in OutboxEvent.objects.order_by("-sequence"):
        LocalSender().send(Envelope.of(event, stream="default", after={}), None)
    deliver_all()
    assert len(mail.outbox) == 2
    assert LoyaltyBooking.objects.get().points == 12


def test_an_order_that_costs_nothing_is_placed_and_paid() -> None:
    order = make_order(product=make_product("0.00"))
    deliver_all()
    assert subjects(order) == ["Your order N", "Payment of order N"]
    assert not LoyaltyBooking.objects.exists()


def test_spent_points_cannot_go_below_zero() -> None:
    order = make_order()
    by_the_service(OrderPaid, order)
    deliver_all()
    Profile.objects.update(loyalty_points=5)
    cancel_order(order.pk)
    deliver_all()
    assert Profile.objects.get(user=order.customer).loyalty_points == 0


def test_nothing_is_sent_for_an_order_that_was_rolled_back() -> None:
    def change_ones_mind() -> None:
        with transaction.atomic():
            make_order()
            raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        change_ones_mind()
    deliver_all()
    assert mail.outbox == []


def test_a_mail_server_that_is_gone_keeps_nobody_from_ordering(settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    order = make_order()
    by_the_service(OrderPaid, order)
    deliver_all()
    assert LoyaltyBooking.objects.filter(order=order).exists()  # other handlers go on
    waiting = HandlerRun.objects.filter(handler="orders.mail").order_by("sequence")
    assert [(run.state, run.attempts) for run in waiting] == [("pending", 1), ("pending", 0)]
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    HandlerRun.objects.update(next_at=order.placed_at)
    deliver_all()
    assert subjects(order) == ["Your order N", "Payment of order N"]


def test_a_customer_without_an_address_gets_no_mail() -> None:
    order = make_order()
    order.customer.email = ""
    order.customer.save()
    deliver_all()
    assert mail.outbox == []


def test_the_mailbox_takes_each_message_once(settings, tmp_path: Path) -> None:
    settings.EMAIL_BACKEND, settings.EMAIL_FILE_PATH = "legacy_shop.mailbox.MailboxBackend", tmp_path
    order = make_order()
    deliver_all()
    HandlerRun.objects.update(state="pending", next_at=order.placed_at)  # as if the worker had died before noting it
    deliver_all()
    (filed,) = tmp_path.glob("*.eml")
    message = message_from_bytes(filed.read_bytes())
    assert (message["X-Shop-Order"], message["X-Shop-Mail"]) == (order.number, "placed")
    assert len(list(tmp_path.glob("*.again"))) == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_both_sides_declare_the_same_events() -> None:
    """The service cannot be imported here; its schema is what its events in the outbox look like."""
    names = {declared.name: declared.version for declared in declared_types() if declared.name.startswith("orders.")}
    assert names == {"orders.order.placed": 1, "orders.order.paid": 1, "orders.order.cancelled": 1}
    assert {kind.__name__ for kind in (OrderPlaced, OrderPaid, OrderCancelled)}
