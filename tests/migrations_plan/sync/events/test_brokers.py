"""Real brokers, a real worker: what is published arrives once, also when workers are killed or nobody listened yet."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.db import transaction
from kombu import Connection

from legacy_shop.accounts.models import LoyaltyBooking
from legacy_shop.celery import BROKER_FOLDERS
from legacy_shop.orders.integration import OrderPaid
from legacy_shop.orders.models import Order
from migrations_plan.sync.events import broker, outbox, relay, tasks
from migrations_plan.sync.events.api import publish
from migrations_plan.sync.events.models import Delivery, HandlerRun, InboxEvent
from migrations_plan.sync.events.topology import acks_queue_name, queue_name
from tests.legacy_shop.samples import make_order
from tests.migrations_plan.sync.events.conftest import tell
from tests.processes import UNTRACED, RunningProcess, celery_worker, database_url, free_port, start_process, wait_until

pytestmark = pytest.mark.any_database


@pytest.fixture
def name() -> str:
    """A name for queues and consumer that no other run uses."""
    return f"t{uuid.uuid4().hex[:10]}"


class Shop:
    """A worker with beat, on the test database, and the broker it talks to."""

    def __init__(self, name: str, url: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.env = {
            **UNTRACED,
            "DJANGO_SETTINGS_MODULE": "tests.migrations_plan.sync.events.worker_settings",
            "SHOP_DATABASE_URL": database_url(),
            "CELERY_BROKER_URL": url,
            "SHOP_VAR": str(folder),
            "EVENTS_NAME": name,
        }

    @contextmanager
    def worker(self) -> Iterator[RunningProcess]:
        beat = ("--beat", "--schedule", str(self.folder / "beat"))
        command = celery_worker("legacy_shop.celery", *beat, "--concurrency", "2")
        with start_process(command, self.env) as process:
            yield process
            process.kill()  # one that ends in peace takes five seconds over it


@pytest.fixture
def embedded(transactional_db: None, name: str, tmp_path: Path) -> Shop:
    return Shop(name, "embedded://", tmp_path)


@pytest.fixture
def rabbit(transactional_db: None, name: str, tmp_path: Path, rabbitmq_url: str) -> Iterator[Shop]:
    yield Shop(name, rabbitmq_url, tmp_path)
    with Connection(rabbitmq_url) as connection:
        for queue in (queue_name(name), acks_queue_name(name), f"{name}.tasks"):
            connection.default_channel.queue_delete(queue)
        connection.default_channel.exchange_delete(f"{name}.events")


def pay(*orders: Order) -> None:
    for order in orders:
        facts = {"order": order.pk, "number": order.number, "customer": order.customer_id}
        with transaction.atomic():
            paid = OrderPaid(**facts, total=order.total, currency=order.currency)
            publish(paid, key=order.pk, owner=order.customer_id)


def everything_done(orders: int) -> bool:
    """Whether placed and paid of each order were received, acknowledged and handled."""
    handled = HandlerRun.objects.filter(state="done").count()
    return handled == 3 * orders and not Delivery.objects.filter(acked_at=None).exists()


def check(shop: Shop, process: RunningProcess, orders: int) -> None:
    def done() -> bool:
        assert process.process.poll() is None, process.output()
        return everything_done(orders)

    wait_until(done, f"{orders} orders are told of", 60)
    assert LoyaltyBooking.objects.count() == orders, process.output()
    assert len(list((shop.folder / "mail").glob("*.eml"))) == 2 * orders
    assert InboxEvent.objects.filter(state="released", consumer=shop.name).count() == 2 * orders


def play(shop: Shop) -> None:
    """Publish before anybody listens; kill the worker with messages in its hands; publish while nobody is there."""
    pay(*[make_order() for _ in range(3)])
    with shop.worker() as process:
        check(shop, process, 3)
        pay(*[make_order() for _ in range(20)])
        wait_until(lambda: InboxEvent.objects.count() > 8, "the worker is in the middle of it", 30)
        process.kill()
    pay(*[make_order() for _ in range(2)])
    with shop.worker() as process:
        check(shop, process, 25)


def test_without_a_server(embedded: Shop) -> None:
    play(embedded)


@pytest.mark.broker
def test_rabbitmq(rabbit: Shop) -> None:
    play(rabbit)


class TestTheSender:
    @pytest.fixture
    def app(self, name: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Celery:
        """A Celery application of its own, in place of the project's."""
        events = {"CONSUMERS": {name: ["orders.#"]}, "CONSUMER": name, "EXCHANGE": f"{name}.events"}
        settings.STRANGLER_EVENTS = {**settings.STRANGLER_EVENTS, **events}
        app = Celery("tests", set_as_current=False)
        monkeypatch.setattr(broker, "application", lambda: app)
        return app

    @pytest.mark.django_db
    @pytest.mark.usefixtures("world")
    @pytest.mark.parametrize("scheme", ["amqp", "redis"])
    def test_a_broker_that_is_away_keeps_nobody_waiting(self, app: Celery, scheme: str) -> None:
        app.conf.broker_url = f"{scheme}://127.0.0.1:{free_port()}/"
        tell(1, 2)
        report = relay.relay()
        assert (report.sent, "cannot be reached" in report.broker_away) == (0, True)
        assert Delivery.objects.filter(attempts=0).count() == 2

    @pytest.mark.broker
    @pytest.mark.django_db
    @pytest.mark.usefixtures("world")
    def test_events_wait_for_consumers_that_were_never_there(self, app: Celery, name: str, rabbitmq_url: str) -> None:
        """The queue is declared before anything is published, so that a topic exchange drops nothing."""
        app.conf.broker_url = rabbitmq_url
        app.conf.broker_transport_options = {"confirm_publish": True}
        tell(1, 2, 3)
        assert relay.relay().sent == 3
        with broker.celery_sender() as sender:
            assert sender.waiting(name) == 3
        with Connection(rabbitmq_url) as connection:
            waiting = connection.default_channel.queue_declare(queue_name(name), passive=True).message_count
            connection.default_channel.queue_delete(queue_name(name))
            connection.default_channel.exchange_delete(f"{name}.events")
        assert waiting == 3

    @pytest.mark.django_db
    @pytest.mark.usefixtures("world")
    def test_the_embedded_broker_tells_how_many_wait(self, app: Celery, name: str, tmp_path: Path) -> None:
        app.conf.broker_url = "embedded://"
        folders = dict.fromkeys(BROKER_FOLDERS, str(tmp_path))
        app.conf.broker_transport_options = folders
        tell(1, 2, 3)
        assert relay.relay().sent == 3
        with broker.celery_sender() as sender:
            assert (sender.waiting(name), sender.waiting("nobody")) == (3, 0)

    @pytest.mark.broker
    @pytest.mark.django_db
    @pytest.mark.usefixtures("world")
    def test_another_database_is_told_by_a_message(self, app: Celery, name: str, rabbitmq_url: str) -> None:
        app.conf.broker_url = rabbitmq_url
        (event_id,) = tell(1)
        outbox.fan_out()
        with broker.celery_sender() as sender:
            sender.acknowledge([event_id], name, name)
        with Connection(rabbitmq_url) as connection:
            message = connection.default_channel.basic_get(acks_queue_name(name))
            for queue in (acks_queue_name(name), queue_name(name)):
                connection.default_channel.queue_delete(queue)
            connection.default_channel.exchange_delete(f"{name}.events")
        assert message.headers["task"] == broker.ACKNOWLEDGE

        args = json.loads(message.body)[0]
        assert tasks.acknowledge.apply(args=args).get() == 1
        assert Delivery.objects.get().acked_at is not None
