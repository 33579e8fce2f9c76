"""The night job in raw SQL that expires unpaid orders, alone and against customers who pay at that moment."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connections, transaction

from demo.provider import Control, ProviderServer
from legacy_shop.orders import expiry
from legacy_shop.orders.expiry import ExpiryReport, expirable
from legacy_shop.orders.models import Order
from legacy_shop.orders.nightly import NightReport, expire_unpaid
from legacy_shop.orders.services import LineRequest, cancel_order, place_order
from legacy_shop.orders.tasks import expire_unpaid_orders
from legacy_shop.payments.exceptions import NotPayable
from legacy_shop.payments.ledger import open_payment
from legacy_shop.payments.models import PaymentAttempt
from legacy_shop.payments.services import Payment, pay_order, run_due_attempts
from tests.legacy_shop.samples import (
    DECLINED,
    GOOD,
    SHIP_TO,
    age,
    at_once,
    make_customer,
    make_order,
    make_product,
    on_hand,
)

pytestmark = pytest.mark.django_db
DAY = timedelta(hours=24)


def old_order(**wanted: object) -> Order:
    """Return an order of two days ago."""
    order = make_order(**wanted)
    age(order, 48)
    mail.outbox.clear()
    return order


def status(order: Order) -> Order.Status:
    order.refresh_from_db()
    return Order.Status(order.status)


def test_an_old_unpaid_order_expires_and_gives_its_stock_back() -> None:
    product, other = make_product(stock=10), make_product(stock=10)
    order = place_order(
        customer=make_customer(), lines=[LineRequest(product.pk, 3), LineRequest(other.pk, 2)], ship_to=SHIP_TO
    )
    age(order, 25)
    young = make_order(product=product)
    mail.outbox.clear()

    report = expire_unpaid(DAY).expired

    assert report == ExpiryReport(orders=1, pieces=5)
    assert (status(order), status(young)) == (Order.Status.EXPIRED, Order.Status.PENDING)
    assert order.closed_at is not None
    assert (on_hand(product), on_hand(other)) == (9, 10)
    assert mail.outbox == []
    assert expire_unpaid(DAY).expired == ExpiryReport(orders=0, pieces=0)


@pytest.mark.parametrize("kept", [s for s in Order.Status if s != Order.Status.PENDING])
def test_only_pending_orders_expire(kept: Order.Status) -> None:
    order = old_order()
    Order.objects.filter(pk=order.pk).update(status=kept)
    assert expire_unpaid(DAY).expired.orders == 0
    assert status(order) == kept


@pytest.mark.parametrize(("state", "expires"), [("open", False), ("succeeded", False), ("failed", True)])
def test_an_order_that_was_or_may_be_charged_never_expires(state: str, expires: bool) -> None:
    order = old_order(card=GOOD)
    PaymentAttempt.objects.update(state=state)

    assert expire_unpaid(DAY).expired.orders == int(expires)
    assert (status(order) == Order.Status.EXPIRED) is expires


def test_many_orders_expire_in_batches_with_progress() -> None:
    product = make_product(stock=10)
    for _ in range(7):
        old_order(product=product)
    seen: list[int] = []

    report = expire_unpaid(DAY, batch=3, progress=lambda done: seen.append(done.orders)).expired

    assert (report, seen, on_hand(product)) == (ExpiryReport(orders=7, pieces=7), [3, 3, 1], 10)


def test_an_expired_order_cannot_be_paid() -> None:
    order = old_order()
    expire_unpaid(DAY)
    with pytest.raises(NotPayable, match="is expired"):
        open_payment(order.pk, GOOD)


@pytest.mark.django_db(transaction=True)
def test_expiring_while_customers_pay_never_takes_a_paid_order(provider: ProviderServer) -> None:
    product = make_product(stock=20)
    orders = [old_order(product=product) for _ in range(8)]
    provider.control = Control(latency_ms=5)

    results = at_once(
        [lambda order=order: pay_order(order.pk, GOOD) for order in orders]
        + [lambda: expire_unpaid(DAY, batch=2), lambda: expire_unpaid(DAY, batch=3)]
    )

    paid = [order for order in orders if status(order) == Order.Status.PAID]
    expired = [order for order in orders if status(order) == Order.Status.EXPIRED]
    assert len(paid) + len(expired) == 8
    assert all(isinstance(result, Payment | NotPayable | NightReport) for result in results), results
    assert sum(isinstance(result, Payment) for result in results) == len(paid)
    assert sum(result.expired.orders for result in results[-2:]) == len(expired)
    assert {row["reference"] for row in provider.ledger.rows("charge")} == {order.number for order in paid}
    assert on_hand(product) == 20 - len(paid)
    assert provider.ledger.rows("refund") == []


def test_a_charge_committed_after_the_candidates_were_chosen_saves_the_order() -> None:
    order = old_order()
    open_payment(order.pk, GOOD)

    with transaction.atomic():
        done = expiry._expire([order.pk], order.placed_at + timedelta(days=9))

    assert (done, status(order)) == (ExpiryReport(orders=0, pieces=0), Order.Status.PENDING)


@pytest.mark.django_db(transaction=True)
@pytest.mark.postgres
def test_an_order_that_somebody_holds_is_left_for_the_next_night() -> None:
    """On PostgreSQL only: SQLite has one writer, so nobody holds a row."""
    order = old_order()
    with transaction.atomic():
        open_payment(order.pk, DECLINED)
        assert at_once([lambda: expire_unpaid(DAY)]) == [NightReport(expired=ExpiryReport(orders=0, pieces=0))]
    connections.close_all()
    assert status(order) == Order.Status.PENDING


@pytest.mark.django_db(transaction=True)
def test_expiring_and_cancelling_give_stock_back_once() -> None:
    product = make_product(stock=10)
    orders = [old_order(product=product) for _ in range(6)]

    at_once([lambda order=order: cancel_order(order.pk) for order in orders] + [lambda: expire_unpaid(DAY, batch=2)])

    assert all(status(order) in (Order.Status.CANCELLED, Order.Status.EXPIRED) for order in orders)
    assert on_hand(product) == 10


def test_a_declined_order_expires_and_stays_unpaid(provider: ProviderServer) -> None:
    order = old_order(card=DECLINED)
    run_due_attempts(order.pk)
    assert expire_unpaid(DAY).expired.orders == 1
    assert status(order) == Order.Status.EXPIRED


def test_the_dry_run_says_what_the_command_would_do() -> None:
    product = make_product()
    order = old_order(product=product, quantity=4)
    out = StringIO()

    call_command("expire_orders", "--dry-run", stdout=out)
    assert "would expire 1 orders and give back 4 pieces" in out.getvalue()
    assert (status(order), on_hand(product)) == (Order.Status.PENDING, 6)

    call_command("expire_orders", "--hours", "47", stdout=out, stderr=StringIO())
    assert "expired 1 orders and gave back 4 pieces" in out.getvalue()
    assert (status(order), on_hand(product)) == (Order.Status.EXPIRED, 10)
    assert expirable(DAY) == ExpiryReport(orders=0, pieces=0)


def test_the_command_refuses_a_negative_age() -> None:
    with pytest.raises(CommandError, match="--hours -1 is negative"):
        call_command("expire_orders", "--hours", "-1")


def test_the_task_expires() -> None:
    old_order()
    assert expire_unpaid_orders() == "expired 1 orders, gave back 1 pieces, left 0 for the next night"
