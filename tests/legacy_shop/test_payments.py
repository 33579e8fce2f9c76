"""Charges and refunds against a real provider that has bad days, and settling what was left open."""

import sys
import threading
import uuid
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.core import mail
from django.core.management import call_command
from django.db import transaction
from pytest_django import Settings

from demo.provider import Control, ProviderServer
from legacy_shop.accounts.models import LoyaltyBooking
from legacy_shop.celery import app, create_broker_folders
from legacy_shop.orders.documents import fresh_document
from legacy_shop.orders.exceptions import NotCancellable
from legacy_shop.orders.models import Order
from legacy_shop.orders.services import cancel_order
from legacy_shop.payments import provider as client
from legacy_shop.payments.exceptions import CalledInsideTransaction, NotPayable
from legacy_shop.payments.ledger import open_payment
from legacy_shop.payments.models import PaymentAttempt
from legacy_shop.payments.provider import request_of as asked_for
from legacy_shop.payments.services import Payment, pay_order, run_attempt, run_due_attempts, settle_open
from legacy_shop.payments.tasks import settle_open_payments
from migrations_plan.sync.events.testing import deliver_all
from tests.legacy_shop.samples import DECLINED, GOOD, at_once, make_order, make_product, on_hand
from tests.processes import database_url, free_port, start_process, wait_until

pytestmark = pytest.mark.django_db
AT_ONCE = timedelta(0)


@pytest.fixture(autouse=True)
def short_timeout(settings: Settings) -> None:
    """Give the provider less time than it is told to take."""
    settings.PAYMENT_PROVIDER_TIMEOUT = 0.3


def charges(provider: ProviderServer) -> list[tuple[str, str]]:
    return [(row["reference"], row["status"]) for row in provider.ledger.rows("charge")]


def refunds(provider: ProviderServer) -> list[tuple[str, str]]:
    return [(row["reference"], row["status"]) for row in provider.ledger.rows("refund")]


def states(order: Order) -> list[tuple[str, str]]:
    return list(PaymentAttempt.objects.filter(order=order).order_by("pk").values_list("kind", "state"))


def status(order: Order) -> Order.Status:
    order.refresh_from_db()
    return Order.Status(order.status)


def test_a_charge_pays_the_order(provider: ProviderServer) -> None:
    order = make_order(product=make_product("12.34"), quantity=3)

    payment = pay_order(order.pk, GOOD)

    attempt = PaymentAttempt.objects.get()
    assert payment == Payment(state=attempt.state, failure="", order=fresh_document(order.pk))
    assert (attempt.state, status(order)) == ("succeeded", Order.Status.PAID)
    assert order.paid_at == attempt.settled_at
    (row,) = provider.ledger.rows("charge")
    assert (row["amount_minor"], row["currency"], row["reference"]) == (3702, "USD", order.number)
    assert (row["key"], row["id"]) == (str(attempt.provider_key), attempt.provider_reference)


def test_a_declined_card_leaves_the_order_payable(provider: ProviderServer) -> None:
    order = make_order()

    declined = pay_order(order.pk, DECLINED)
    assert (declined.state, declined.failure, status(order)) == ("failed", "card_declined", Order.Status.PENDING)

    pay_order(order.pk, GOOD)
    assert status(order) == Order.Status.PAID
    assert charges(provider) == [(order.number, "failed"), (order.number, "succeeded")]


@pytest.mark.parametrize(
    "bad_day", [{"fail_rate": 1.0}, {"latency_ms": 60_000}, {"answer_late_rate": 1.0, "late_ms": 60_000}]
)
def test_without_an_answer_the_attempt_stays_open_and_is_settled_later(
    provider: ProviderServer, bad_day: dict[str, Any]
) -> None:
    order = make_order()
    provider.control = Control().changed(bad_day)

    assert pay_order(order.pk, GOOD).state == "open"
    assert status(order) == Order.Status.PENDING

    provider.control = Control()
    report = settle_open(older_than=AT_ONCE)

    assert (report.found, report.succeeded, report.failed, report.still_open) == (1, 1, 0, 0)
    assert status(order) == Order.Status.PAID
    assert charges(provider) == [(order.number, "succeeded")]


def test_an_unreachable_provider_is_asked_again_later(provider: ProviderServer, settings: Settings) -> None:
    settings.PAYMENT_PROVIDER_URL = f"http://127.0.0.1:{free_port()}"
    order = make_order(card=GOOD)
    run_due_attempts(order.pk)
    assert states(order) == [("charge", "open")]

    settings.PAYMENT_PROVIDER_URL = provider.url
    assert settle_open(older_than=AT_ONCE).succeeded == 1
    assert status(order) == Order.Status.PAID


@pytest.mark.parametrize("answer", [b"not json", b"[]", b"{}", b'{"id": "x", "status": "failed"}'])
def test_an_unreadable_answer_decides_nothing(settings: Settings, answer: bytes) -> None:
    class Rambling(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Stay quiet."""

    with HTTPServer(("127.0.0.1", 0), Rambling) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        settings.PAYMENT_PROVIDER_URL = f"http://127.0.0.1:{server.server_port}"
        assert pay_order(make_order().pk, GOOD).state == "open"


@pytest.mark.django_db(transaction=True)
def test_the_provider_is_never_called_inside_a_transaction(provider: ProviderServer) -> None:
    order = make_order(card=GOOD)

    with transaction.atomic(), pytest.raises(CalledInsideTransaction, match="Commit the attempt first"):
        run_due_attempts(order.pk)

    assert charges(provider) == []
    run_due_attempts(order.pk)
    assert status(order) == Order.Status.PAID


def test_the_transaction_around_a_test_does_not_count(provider: ProviderServer) -> None:
    with transaction.atomic():
        order = make_order(card=GOOD)
    run_due_attempts(order.pk)
    assert states(order) == [("charge", "succeeded")]


@pytest.mark.django_db(transaction=True)
def test_killed_between_attempt_and_settlement_it_is_charged_once(provider: ProviderServer) -> None:
    order = make_order()
    provider.control = Control(answer_late_rate=1.0, late_ms=60_000)
    script = (
        "import django; django.setup()\n"
        "from legacy_shop.orders.models import Order\n"
        "from legacy_shop.payments.services import pay_order\n"
        f"pay_order({order.pk}, {GOOD!r})\n"
    )
    environment = {
        "DJANGO_SETTINGS_MODULE": "legacy_shop.settings",
        "SHOP_DATABASE_URL": database_url(),
        "PAYMENT_PROVIDER_URL": provider.url,
        "PAYMENT_PROVIDER_TIMEOUT": "60",
    }
    with start_process([sys.executable, "-c", script], environment) as shop:

        def asked() -> bool:
            assert shop.process.poll() is None, shop.output()
            return bool(charges(provider))

        wait_until(asked, "the provider has booked the charge")
        shop.kill()

    assert states(order) == [("charge", "open")]
    provider.control = Control()
    assert settle_open(older_than=AT_ONCE).succeeded == 1
    assert charges(provider) == [(order.number, "succeeded")]
    assert status(order) == Order.Status.PAID


@pytest.mark.parametrize("rule", [True, False])
def test_each_try_is_made_under_the_attempts_own_key(
    provider: ProviderServer, monkeypatch: pytest.MonkeyPatch, rule: bool
) -> None:
    """Else who asks again, since no answer came, has the money moved twice."""
    order = make_order()
    if not rule:
        monkeypatch.setattr(client, "request_of", lambda of: replace(asked_for(of), key=uuid.uuid4()))
    provider.control = Control(answer_late_rate=1.0, late_ms=60_000)
    pay_order(order.pk, GOOD)
    provider.control = Control()
    settle_open(older_than=AT_ONCE)
    assert charges(provider) == [(order.number, "succeeded")] * (1 if rule else 2)


def test_a_charge_that_succeeds_after_the_cancellation_is_refunded(provider: ProviderServer) -> None:
    product = make_product(stock=2)
    order = make_order(product=product, quantity=2, card=GOOD)
    provider.control = Control(answer_late_rate=1.0, late_ms=60_000)
    run_due_attempts(order.pk)
    cancel_order(order.pk)
    provider.control = Control()

    settle_open(older_than=AT_ONCE)

    assert status(order) == Order.Status.CANCELLED
    assert states(order) == [("charge", "succeeded"), ("refund", "succeeded")]
    assert charges(provider) == refunds(provider) == [(order.number, "succeeded")]
    assert on_hand(product) == 2
    assert not LoyaltyBooking.objects.exists()


@pytest.mark.parametrize("closed", [Order.Status.CANCELLED, Order.Status.EXPIRED])
def test_a_closed_order_gets_its_money_back(provider: ProviderServer, closed: Order.Status) -> None:
    order = make_order(card=GOOD)
    Order.objects.filter(pk=order.pk).update(status=closed)

    run_due_attempts(order.pk)

    assert status(order) == closed
    assert states(order) == [("charge", "succeeded"), ("refund", "succeeded")]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("latency", [0, 3, 10, 25])
def test_cancelling_while_paying_never_keeps_the_money(provider: ProviderServer, latency: int) -> None:
    product = make_product()
    order = make_order(product=product)
    provider.control = Control(latency_ms=latency)

    def cancel() -> Order:
        cancelled = cancel_order(order.pk)
        run_due_attempts(order.pk)
        return cancelled

    paid, cancelled = at_once([lambda: pay_order(order.pk, GOOD), cancel])
    settle_open(older_than=AT_ONCE)

    assert isinstance(cancelled, Order), cancelled
    assert isinstance(paid, Payment | NotPayable), paid
    assert (status(order), on_hand(product)) == (Order.Status.CANCELLED, 10)
    assert len(charges(provider)) == len(refunds(provider)) == isinstance(paid, Payment)
    assert not PaymentAttempt.objects.filter(state="open").exists()


def test_paying_twice_is_refused(provider: ProviderServer) -> None:
    order = make_order()
    provider.control = Control(fail_rate=1.0)
    pay_order(order.pk, GOOD)
    with pytest.raises(NotPayable, match=f"{order.number} has a charge already, which is open"):
        pay_order(order.pk, GOOD)

    provider.control = Control()
    settle_open(older_than=AT_ONCE)
    with pytest.raises(NotPayable, match=f"{order.number} is paid"):
        pay_order(order.pk, GOOD)
    assert charges(provider) == [(order.number, "succeeded")]


@pytest.mark.django_db(transaction=True)
def test_of_concurrent_payments_one_is_made(provider: ProviderServer) -> None:
    order = make_order()

    results = at_once([lambda: pay_order(order.pk, GOOD)] * 6)

    assert sorted(type(result).__name__ for result in results) == ["NotPayable"] * 5 + ["Payment"]
    assert charges(provider) == [(order.number, "succeeded")]


@pytest.mark.django_db(transaction=True)
def test_an_attempt_run_many_times_at_once_is_settled_once(provider: ProviderServer) -> None:
    order = make_order(card=GOOD)
    attempt = PaymentAttempt.objects.get(order=order)
    provider.control = Control(latency_ms=50)  # all of them find the attempt open

    results = at_once([lambda: run_attempt(attempt.provider_key)] * 6)

    attempt.refresh_from_db()
    assert (status(order), order.paid_at) == (Order.Status.PAID, attempt.settled_at)
    assert [result.state for result in results] == ["succeeded"] * 6
    assert charges(provider) == [(order.number, "succeeded")]
    mail.outbox.clear()
    deliver_all()
    assert [message.subject for message in mail.outbox][1:] == [f"Payment of order {order.number}"]
    assert LoyaltyBooking.objects.count() == 1


def test_an_attempt_nobody_opened_is_an_error(provider: ProviderServer) -> None:
    with pytest.raises(PaymentAttempt.DoesNotExist):
        run_attempt(uuid.uuid4())


def test_an_order_sent_on_while_its_charge_was_open_is_not_refunded(provider: ProviderServer) -> None:
    order = make_order(card=GOOD)
    Order.objects.filter(pk=order.pk).update(status=Order.Status.SHIPPED)
    run_due_attempts(order.pk)
    assert (status(order), states(order)) == (Order.Status.SHIPPED, [("charge", "succeeded")])


def test_settling_takes_the_oldest_first_and_leaves_the_young_alone(provider: ProviderServer) -> None:
    first, second, third = (make_order(card=GOOD) for _ in range(3))

    assert settle_open().found == 0
    assert settle_open(limit=2, older_than=AT_ONCE).succeeded == 2

    assert status(first) == Order.Status.PAID
    assert sorted(status(order) for order in (second, third)) == [Order.Status.PENDING, Order.Status.PAID]
    assert settle_open(older_than=timedelta(hours=1)).found == 0
    assert settle_open(older_than=AT_ONCE).succeeded == 1


def test_many_hopeless_attempts_do_not_keep_out_the_rest(provider: ProviderServer) -> None:
    """They are the oldest for ever, and as many as one pass asks about."""
    hopeless = [make_order(card=GOOD) for _ in range(2)]
    for order in hopeless:
        run_due_attempts(order.pk)
    PaymentAttempt.objects.update(state="open", amount=1)  # answered 422 from now on
    order = make_order(card=GOOD)

    for _ in range(60):
        if settle_open(limit=2, older_than=AT_ONCE).succeeded:
            break

    assert status(order) == Order.Status.PAID


def test_settling_reports_each_attempt_and_what_became_of_it(provider: ProviderServer) -> None:
    make_order(card=GOOD)
    make_order(card=DECLINED)
    seen: list[str | None] = []

    report = settle_open(older_than=AT_ONCE, progress=lambda attempt: seen.append(attempt and attempt.state))

    assert seen == ["succeeded", "failed"]
    assert str(report) == "2 open attempts: 1 succeeded, 1 failed, 0 still open"


def test_settling_gives_up_soon_when_nobody_answers(settings: Settings) -> None:
    settings.PAYMENT_PROVIDER_URL = f"http://127.0.0.1:{free_port()}"
    for _ in range(5):
        make_order(card=GOOD)
    asked: list[Any] = []

    report = settle_open(older_than=AT_ONCE, progress=asked.append)

    assert (len(asked), report.found, report.still_open) == (3, 5, 5)


def test_one_hopeless_attempt_does_not_hold_up_the_others(provider: ProviderServer) -> None:
    hopeless, *others = [make_order(card=GOOD) for _ in range(5)]
    key = PaymentAttempt.objects.get(order=hopeless).provider_key
    run_attempt(key)
    PaymentAttempt.objects.filter(provider_key=key).update(state="open", amount=1)  # answered 422 from now on

    report = settle_open(older_than=AT_ONCE)

    assert (report.succeeded, report.still_open) == (4, 1)
    assert {status(order) for order in others} == {Order.Status.PAID}


def test_the_command_settles_and_its_dry_run_does_not(provider: ProviderServer) -> None:
    order = make_order(card=GOOD)
    key = PaymentAttempt.objects.get(order=order).provider_key
    out = StringIO()

    call_command("settle_payments", "--dry-run", "--older-than", "0", stdout=out)
    assert f"would ask about attempt {key}" in out.getvalue()
    assert charges(provider) == []

    call_command("settle_payments", "--older-than", "0", stdout=out, stderr=StringIO())
    assert "1 open attempts: 1 succeeded" in out.getvalue()
    assert status(order) == Order.Status.PAID


def test_the_task_settles(provider: ProviderServer, settings: Settings) -> None:
    settings.PAYMENT_PROVIDER_TIMEOUT = -1.0  # whatever is open counts as left open
    order = make_order()
    open_payment(order.pk, DECLINED)
    settings.PAYMENT_PROVIDER_TIMEOUT = 5.0
    PaymentAttempt.objects.update(created_at=order.placed_at - timedelta(minutes=1))

    assert settle_open_payments() == "1 open attempts: 0 succeeded, 1 failed, 0 still open"


def test_a_shipped_order_cannot_be_cancelled_into_a_refund(provider: ProviderServer) -> None:
    order = make_order()
    pay_order(order.pk, GOOD)
    Order.objects.filter(pk=order.pk).update(status=Order.Status.SHIPPED)
    with pytest.raises(NotCancellable):
        cancel_order(order.pk)
    assert states(order) == [("charge", "succeeded")]


def test_what_the_beat_schedules_exists() -> None:
    app.loader.import_default_modules()
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert scheduled == {
        "payments.settle_open_payments",
        "orders.expire_unpaid_orders",
        "orders.hand_events_on",
        "orders.resume_at_service",
        "backoffice.forget_old_rows",
        "strangler_events.relay",
        "strangler_events.work",
        "strangler_events.purge",
        "strangler_sync.sweep",
        "strangler_sync.purge",
    }
    assert scheduled <= set(app.tasks)


def test_the_folders_of_the_embedded_broker_are_made(tmp_path: Path) -> None:
    folders = {name: str(tmp_path / name) for name in ("data_folder_in", "control_folder")}
    celery = Celery("folders", set_as_current=False)
    celery.conf.broker_transport_options = folders

    create_broker_folders(celery)

    assert {path.name for path in tmp_path.iterdir()} == set(folders)
