"""Processes die by SIGKILL at the worst moments; every write takes effect once, and no money moves twice."""

import os
import random
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import kombu
import pytest
from celery import Celery
from django.db import connection
from django.utils import timezone

from demo.provider import Control, ProviderServer
from legacy_shop.catalog.models import Product, Stock
from legacy_shop.orders.models import Order
from legacy_shop.orders.services import LineRequest, ShipTo, place_order
from legacy_shop.payments.models import PaymentAttempt
from legacy_shop.payments.services import settle_open
from router.idempotency.models import IdempotencyKey
from tests.acceptance import books
from tests.acceptance.conftest import Customer, House, envelope, everywhere, orders_noted
from tests.acceptance.patience import LOST, answer_within
from tests.acceptance.shoppers import Shopper
from tests.processes import RunningProcess, celery_worker, start_process, wait_until

pytestmark = pytest.mark.acceptance

StandAt = Callable[..., None]
OPEN, SUCCEEDED = PaymentAttempt.State.OPEN, PaymentAttempt.State.SUCCEEDED
CARD = "tok_visa"
HAVOC_ROUNDS, SEED = 5, 20
SLOW_MS = 1500
"""Longer than the router waits for a first byte."""


@pytest.fixture
def diverted(stand_at: StandAt) -> None:
    """Let the service answer everything."""
    stand_at("shared.writes@100", reads=100, writes=100)


@pytest.fixture
def bank(provider: ProviderServer, settings: Any) -> Iterator[ProviderServer]:
    """Return the payment provider, on a good day before and after."""
    settings.PAYMENT_PROVIDER_URL = provider.url
    provider.control = Control()
    yield provider
    provider.control = Control()


# --- moments ------------------------------------------------------------------------------------------------


def unread(house: House, key: str) -> bool:
    """Whether a request waits at the frozen service that has not been read."""
    return house.unread()


def in_transaction(house: House, key: str) -> bool:
    """Whether the service has claimed the key and not committed yet."""
    return IdempotencyKey.objects.filter(key=key, state="claimed", holder="extracted").exists()


def committed(house: House, key: str) -> bool:
    """Whether the service has committed the write."""
    return IdempotencyKey.objects.filter(key=key, state="done", holder="extracted").exists()


MOMENTS: dict[str, tuple[dict[str, int], Callable[[House, str], bool]]] = {
    "sent": ({}, unread),
    "in transaction": ({"hang_before_commit_ms": SLOW_MS}, in_transaction),
    "committed": ({"hang_after_commit_ms": SLOW_MS}, committed),
}


@contextmanager
def under_way(house: House, moment: str, ask: Callable[[], Any], key: str) -> Iterator["Future[Any]"]:
    """Send a write and enter the block at a moment of its life at the service; the service is well again afterwards.

    The key tells it from a write of the test before that the service finishes only now.
    """
    faults, reached = MOMENTS[moment]
    house.faults(**faults)
    if not faults:
        house.orders.suspend()
    with ThreadPoolExecutor(1) as pool:
        try:
            sent = pool.submit(ask)
            wait_until(lambda: reached(house, key) or sent.done(), f"the write is {moment}", timeout=15)
            assert not sent.done(), f"answered before it was {moment}: {dict(sent.result().headers)}"
            yield sent
        finally:
            house.faults()
            if house.orders.process.poll() is None:
                house.orders.resume()


def nothing_is_under_way(house: House, customer: Customer) -> None:
    """Wait until the service has read all that was sent and has answered what came after it."""
    wait_until(lambda: not house.unread(), "the service has read everything")
    everywhere(lambda: customer.call("GET", "/api/orders/"), lambda answer: answer.status_code == 200, timeout=30)


# --- orders -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "then", "reason"),
    [
        ("in transaction", "as before", ""),
        ("sent", "rolled back", "not-yet"),
        ("committed", "service down", "stored-answer:not-sent-connect_refused"),
    ],
)
def test_shop_workers_die_with_a_write_at_the_service(
    diverted: None, house: House, customer: Customer, moment: str, then: str, reason: str
) -> None:
    """The client keeps asking with its key and gets the one order, wherever its retry is answered."""
    key = uuid.uuid4().hex

    def ask() -> Any:
        return customer.order("orphan", key=key)

    with ExitStack() as trouble:
        with under_way(house, moment, ask, key) as sent:
            house.kill_workers("shop")
            if then == "rolled back":
                envelope("monolith")
            elif then == "service down":
                trouble.enter_context(house.down("orders"))
            placed = answer_within(ask)
            with pytest.raises(LOST):
                sent.result(timeout=10)
        assert placed.status_code == 201, placed.text
        assert placed.headers["X-Strangler-Reason"].endswith(reason)
    nothing_is_under_way(house, customer)
    assert list(Order.objects.values_list("pk", "note")) == [(placed.json()["id"], "orphan")]
    assert Stock.objects.get().on_hand == 99
    assert answer_within(ask).json() == placed.json()


@pytest.mark.parametrize(("moment", "replayed"), [("in transaction", False), ("committed", True)])
def test_service_workers_die_around_their_commit(
    diverted: None, house: House, customer: Customer, moment: str, replayed: bool
) -> None:
    """The customer notices nothing: legacy finds the stored answer, or takes the dead worker's key over."""
    key = uuid.uuid4().hex
    with under_way(house, moment, lambda: customer.order("cut", key=key), key) as sent:
        house.kill_workers("orders")
        placed = sent.result(timeout=10)
    assert placed.status_code == 201, placed.text
    assert ("Idempotency-Replayed" in placed.headers) == replayed
    again = answer_within(lambda: customer.order("cut", key=key))
    assert again.json() == placed.json()
    assert list(Order.objects.values_list("pk", flat=True)) == [placed.json()["id"]]


def test_both_sides_die_in_a_transaction_and_the_phase_is_rolled_back(
    diverted: None, house: House, customer: Customer
) -> None:
    """Nobody is left to take the key from the dead: its lease runs out soon enough for a client that waits 10 s."""
    key = uuid.uuid4().hex

    def ask() -> Any:
        return customer.order("nobody", key=key)

    with under_way(house, "in transaction", ask, key):
        house.kill_workers("orders", "shop")
        envelope("monolith")
        placed = answer_within(ask)
    assert (placed.status_code, placed.headers["X-Strangler-Side"]) == (201, "legacy"), placed.text
    assert orders_noted("nobody") == 1


@pytest.mark.postgres
def test_a_shop_worker_dies_after_it_took_the_key_from_a_service_that_commits_late(
    diverted: None, house: House, customer: Customer
) -> None:
    """The late commit is refused and the taker is dead: the order is placed once the taker's lease has run out.

    On SQLite nobody can take a key while the service's transaction is open.
    """
    key = uuid.uuid4().hex

    def ask() -> Any:
        return customer.order("taken", key=key)

    with under_way(house, "in transaction", ask, key):
        wait_until(IdempotencyKey.objects.filter(holder="legacy").exists, "legacy takes the key", timeout=15)
        house.kill_workers("shop")
        placed = answer_within(ask)
    nothing_is_under_way(house, customer)
    assert placed.status_code == 201, placed.text
    assert list(Order.objects.values_list("pk", "note")) == [(placed.json()["id"], "taken")]
    assert Stock.objects.get().on_hand == 99


# --- money --------------------------------------------------------------------------------------------------


def settle_by_commands(house: House) -> None:
    """Run the real command in two processes at the same time, until both are done."""
    command = [sys.executable, "manage.py", "settle_payments", "--older-than", "0"]
    with ExitStack() as stack:
        for run in [stack.enter_context(start_process(command, house.programs["shop"].env)) for _ in range(2)]:
            assert run.process.wait(20) == 0, run.output()


def settle_in_threads() -> None:
    """Settle what is open in two threads that start at the same moment, until both are done."""
    begin = threading.Barrier(2)

    def settle() -> None:
        try:
            begin.wait(10)
            settle_open(older_than=timedelta(0))
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(settle) for _ in range(2)]:
            each.result(timeout=20)


def movements(bank: ProviderServer, kind: str, order: Order) -> list[tuple[str, int]]:
    """Return status and amount of what the provider booked for an order."""
    rows = [row for row in bank.ledger.rows(kind) if row["reference"] == order.number]
    return [(row["status"], row["amount_minor"]) for row in rows]


@pytest.mark.parametrize(
    ("side", "trouble"),
    [("legacy", {"latency_ms": 1000}), ("extracted", {"answer_late_rate": 1, "late_ms": 1000})],
    ids=["legacy, not booked yet", "extracted, booked already"],
)
def test_the_process_that_charges_dies_before_the_answer(
    stand_at: StandAt, house: House, customer: Customer, bank: ProviderServer, side: str, trouble: dict[str, Any]
) -> None:
    """The attempt stays open; two settling commands and the client's retry then race, and money moves once."""
    share, charging = (100, "internal") if side == "extracted" else (0, "shop")
    stand_at(f"shared.writes@{share}", reads=share, writes=share)
    bank.control = Control(**trouble)

    def ask() -> Any:
        return customer.order("paid", key="paid-1", card=CARD)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(answer_within, ask)
        wait_until(lambda: PaymentAttempt.objects.filter(state=OPEN).exists(), "the attempt is committed")
        house.kill_workers(charging)
        bank.control = Control(latency_ms=200)
        retry = pool.submit(answer_within, ask)
        settle_by_commands(house)
        assert {first.result(20).status_code, retry.result(20).status_code} == {201}
    order = Order.objects.get(note="paid")
    attempt = PaymentAttempt.objects.get()
    assert (order.status, attempt.state) == (Order.Status.PAID, SUCCEEDED)
    assert movements(bank, "charge", order) == [("succeeded", 999)]
    assert {first.result().json()["id"], retry.result().json()["id"]} == {order.pk}


def test_refunds_are_settled_later_when_the_internal_listener_gave_no_answer(
    diverted: None, house: House, customer: Customer, bank: ProviderServer
) -> None:
    """A listener that was frozen wakes up and runs its attempt at the same time as the others that settle it."""

    def cancel(order_id: int) -> None:
        answer = answer_within(lambda: customer.call("POST", f"/api/orders/{order_id}/cancel/", key=f"back-{order_id}"))
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled"), answer.text
        assert answer.json()["payment"] == "refunding"

    orders = [customer.order(note, card=CARD).json()["id"] for note in ("down", "frozen")]
    with house.down("internal"):
        cancel(orders[0])
    house.running["internal"].suspend()
    cancel(orders[1])
    assert PaymentAttempt.objects.filter(kind="refund", state=OPEN).count() == 2
    house.running["internal"].resume()
    settle_in_threads()
    assert PaymentAttempt.objects.filter(kind="refund", state=SUCCEEDED).count() == 2
    for order in Order.objects.all():
        assert movements(bank, "charge", order) == movements(bank, "refund", order) == [("succeeded", 999)]
        assert customer.call("GET", f"/api/orders/{order.pk}/").json()["payment"] == "refunded"
    assert Stock.objects.get().on_hand == 100


# --- everything at once -------------------------------------------------------------------------------------


def wreak_havoc(house: House, shoppers: list[Shopper], shopping: list["Future[None]"], dice: random.Random) -> None:
    """Kill workers and move the envelope, each time after every customer has got something done."""

    def get_on(due: int) -> bool:
        return all(shopper.steps >= due for shopper in shoppers) or any(each.done() for each in shopping)

    for turn in range(HAVOC_ROUNDS):
        wait_until(lambda due=2 * (turn + 1): get_on(due), "customers get on", 20)
        envelope("shared.writes@100", reads=dice.choice((0, 50, 100)), writes=dice.choice((0, 50, 100)))
        house.kill_workers(*dice.sample(["shop", "orders", "internal"], dice.choice((1, 1, 2))))


def test_havoc(
    stand_at: StandAt, house: House, make_customer: Callable[..., Customer], bank: ProviderServer, product: Product
) -> None:
    """Workers of everything die at random while the phase moves to and fro: nothing is lost, doubled or overcharged."""
    Stock.objects.update(on_hand=10_000)
    booked = len(bank.ledger.rows("charge")), len(bank.ledger.rows("refund"))
    stand_at("shared.writes@100", reads=100, writes=100)
    house.faults(hang_before_commit_ms=15, hang_after_commit_ms=15)
    bank.control = Control(latency_ms=10, fail_rate=0.1, answer_late_rate=0.1, late_ms=300)
    shoppers = [Shopper(make_customer(), number, SEED) for number in range(5)]
    stop = threading.Event()
    with ThreadPoolExecutor(len(shoppers)) as pool:
        shopping = [pool.submit(shopper.shop, stop) for shopper in shoppers]
        try:
            wreak_havoc(house, shoppers, shopping, random.Random(SEED))
        finally:
            stop.set()
        for each in shopping:
            each.result(timeout=30)
    house.faults()
    bank.control = Control()
    house.kill_workers("shop", "orders", "internal")
    nothing_is_under_way(house, shoppers[0].customer)
    settle_in_threads()
    assert {side for shopper in shoppers for side in shopper.sides} == {"legacy", "extracted"}
    memories = {memory.note: memory for shopper in shoppers for memory in shopper.memories}
    assert sum(memory.pk is not None for memory in memories.values()) >= 4 * HAVOC_ROUNDS
    books.check_orders(memories)
    books.check_stock(10_000)
    books.check_money(bank.ledger.rows("charge")[booked[0] :], bank.ledger.rows("refund")[booked[1] :])


# --- messages -----------------------------------------------------------------------------------------------


@contextmanager
def worker(house: House, folder: Path, *, beat: bool = True, **env: str) -> Iterator[RunningProcess]:
    """Run the shop's Celery worker until the block ends."""
    beating = ("--beat", "--schedule", str(folder / "schedule")) if beat else ()
    command = celery_worker("tests.acceptance.settler", *beating, "--concurrency", "2")
    environment = {**house.programs["shop"].env, "SHOP_VAR": str(folder), "C_FORCE_ROOT": "1", **env}
    with start_process(command, environment) as process:
        yield process
        process.kill()  # one that ends in peace takes five seconds over it


@pytest.fixture
def left_open(house: House, customer: Customer, bank: ProviderServer) -> PaymentAttempt:
    """Return a charge that nobody works on any more: its process died a minute ago."""
    address = ShipTo(name="A", street="B 1", city="C", postcode="1", country="US")
    lines = [LineRequest(customer.product.pk, 1)]
    order = place_order(customer=customer.user, lines=lines, ship_to=address, card=CARD)
    PaymentAttempt.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    return order.payment_attempts.get()


def kill_while_settling(process: RunningProcess, bank: ProviderServer, attempt: PaymentAttempt) -> None:
    """End a worker by SIGKILL once the provider has booked its request and before it has answered."""
    wait_until(lambda: bool(movements(bank, "charge", attempt.order)), f"a worker asks: {process.output()}", 20)
    process.kill()
    attempt.refresh_from_db()
    assert attempt.state == OPEN
    bank.control = Control()


def assert_settled(bank: ProviderServer, attempt: PaymentAttempt) -> None:
    """Check that the attempt gets settled and its order is told, and that the money moved once."""

    def settled() -> bool:
        attempt.refresh_from_db()
        return attempt.state == SUCCEEDED and attempt.told_at is not None

    wait_until(settled, "the next worker settles", 20)
    assert movements(bank, "charge", attempt.order) == [("succeeded", 999)]
    assert Order.objects.get(pk=attempt.order_id).status == Order.Status.PAID


def test_the_next_worker_settles_what_a_killed_one_had_begun(
    house: House, bank: ProviderServer, left_open: PaymentAttempt, tmp_path: Path
) -> None:
    """The embedded broker has forgotten the message by then; the next beat says the same."""
    bank.control = Control(answer_late_rate=1, late_ms=1500)
    with worker(house, tmp_path) as first:
        kill_while_settling(first, bank, left_open)
    with worker(house, tmp_path):
        assert_settled(bank, left_open)


@pytest.mark.any_database
@pytest.mark.broker
def test_rabbitmq_gives_back_what_a_killed_worker_had_taken_and_beat_replaces_what_is_lost(
    house: House, bank: ProviderServer, left_open: PaymentAttempt, tmp_path: Path, rabbitmq_url: str
) -> None:
    bank.control = Control(answer_late_rate=1, late_ms=1500)
    env = {"CELERY_BROKER_URL": rabbitmq_url, "SETTLER_QUEUE": f"settler-{tmp_path.name}-{os.getpid()}"}
    celery = Celery("hints", broker=rabbitmq_url, set_as_current=False)
    with celery.connection_for_write() as broker:
        queue = kombu.Queue(env["SETTLER_QUEUE"], kombu.Exchange(env["SETTLER_QUEUE"]), env["SETTLER_QUEUE"])
        bound = queue(broker.default_channel)
        bound.declare()
        try:
            celery.send_task("payments.settle_open_payments", queue=queue)
            with worker(house, tmp_path, beat=False, **env) as first:
                kill_while_settling(first, bank, left_open)
            wait_until(lambda: bound.queue_declare(passive=True).message_count == 1, "the message comes back", 10)
            assert bound.purge() == 1
            with worker(house, tmp_path, **env):
                assert_settled(bank, left_open)
        finally:
            bound.delete()
            bound.exchange.delete()


@pytest.mark.any_database
def test_redis_keeps_what_a_killed_worker_had_taken_and_nothing_waits_for_it(
    house: House, bank: ProviderServer, left_open: PaymentAttempt, tmp_path: Path, redis_url: str
) -> None:
    """Redis gives a task back after its visibility timeout only, an hour by default; the next beat does not wait."""
    bank.control = Control(answer_late_rate=1, late_ms=1500)
    env = {"CELERY_BROKER_URL": redis_url, "SETTLER_QUEUE": f"settler-{tmp_path.name}-{os.getpid()}"}
    celery = Celery("hints", broker=redis_url, set_as_current=False)
    celery.send_task("payments.settle_open_payments", queue=env["SETTLER_QUEUE"])
    with worker(house, tmp_path, beat=False, **env) as first:
        kill_while_settling(first, bank, left_open)
    with worker(house, tmp_path, **env):
        assert_settled(bank, left_open)
