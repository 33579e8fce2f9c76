"""Sync by real processes: whatever dies, is lost, is away or comes twice, there is a delay and nothing else.

The shop writes all the time, the service keeps its own store, workers carry the changes. Tests leave both sides equal
for the next one, so the processes are started once.
"""

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as of_tests
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections, transaction
from django.test import override_settings

from legacy_shop.orders.models import Order, OrderLine
from migrations_plan.sync import operate
from migrations_plan.sync.capture import upkeep
from migrations_plan.sync.models import Applied, Lag
from migrations_plan.sync.standings import Run
from migrations_plan.testing import let_history_be_flushed
from tests.acceptance.hints import Folder, Hints, Rabbit
from tests.acceptance.pair import Audit, Pair
from tests.migrations_plan.sync.houses import LEGACY, OWN, as_extracted, unseen
from tests.own import ALIAS
from tests.own.rows import OwnOrder
from tests.processes import UNTRACED, RunningProcess, database_url, free_port, unread, wait_until

pytestmark = pytest.mark.acceptance

SMALL = 3_000
"""Bytes of a request; one with documents is larger."""


@pytest.mark.django_db(databases=["default", ALIAS])
def test_both_databases_are_there() -> None:
    """The others share one state and so are marked for no database; without a test that is, none would be made."""
    assert [order.objects.exists() for order in (Order, OwnOrder)] == [False, False]


@pytest.fixture(scope="module")
def hints(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hints]:
    """Return the broker: RabbitMQ where there is one, else the embedded one."""
    hints: Hints
    try:
        hints = Rabbit(request.getfixturevalue("rabbitmq_url"))
    except pytest.skip.Exception:
        hints = Folder(tmp_path_factory.mktemp("hints"))
    yield hints
    hints.close()


@pytest.fixture(scope="module")
def running(
    django_db_setup: None, django_db_blocker: Any, hints: Hints, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Start the service and install sync on both sides; empty both databases afterwards."""
    folder, port = tmp_path_factory.mktemp("sync"), free_port()
    with django_db_blocker.unblock(), ExitStack() as stack:
        stack.callback(clear)
        url = f"http://127.0.0.1:{port}"
        pair = Pair(
            hints=hints,
            env={
                **UNTRACED,
                "DJANGO_SETTINGS_MODULE": "legacy_shop.settings",
                "SHOP_DATABASE_URL": database_url(),
                "SHOP_VAR": str(folder),
                "ORDERS_OWN_URL": url,
            },
            service_env={
                **UNTRACED,
                "DJANGO_SETTINGS_MODULE": "extracted.orders.settings",
                "ORDERS_STORE": "own",
                "ORDERS_OWN_DATABASE_URL": database_url(ALIAS),
            },
            port=port,
            folder=folder,
            stack=stack,
            audit=Audit(),
        )
        with as_extracted():
            upkeep.start(OWN)
        pair.audit.install()
        stack.callback(pair.audit.remove)
        pair.start_service()
        stack.callback(lambda: pair.service.kill())
        stack.callback(pair.kill_workers)
        peer = {**of_tests.STRANGLER_SYNC["PEERS"]["orders"], "URL": f"{url}/strangler/sync/"}
        stack.enter_context(override_settings(STRANGLER_SYNC={"SIDE": "legacy", "PEERS": {"orders": peer}}))
        operate.install("orders")
        yield pair


def clear() -> None:
    """Leave both databases as the tests after these expect them: without triggers, and empty."""
    for side in (LEGACY, OWN):
        upkeep.stop(side)
    let_history_be_flushed()
    for alias in ("default", ALIAS):
        call_command("flush", database=alias, interactive=False, verbosity=0)
        connections[alias].close()


@pytest.fixture
def pair(running: Pair) -> Pair:
    """Return both sides, equal, with a worker that keeps them so."""
    running.work()
    return running


# --- commands -----------------------------------------------------------------------------------------------


def sync(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Call the command in this process; return what it printed."""
    capsys.readouterr()
    call_command("sync", *arguments)
    return capsys.readouterr().out


def spoil(order: int, **values: Any) -> None:
    """Change an order at the service behind sync's back."""
    with unseen(ALIAS):
        OwnOrder.objects.using(ALIAS).filter(pk=order).update(**values)


@pytest.fixture
def by_hand(running: Pair) -> Pair:
    """Return both sides, equal, with no worker."""
    running.kill_workers()
    wait_until(lambda: not running.working(), "nobody holds a lease")
    return running


def test_commands_from_installing_to_equal(by_hand: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    sync(capsys, "remove", "orders")
    old = by_hand.place(5, seen=False)
    assert " triggers put\n" in sync(capsys, "install", "orders")
    assert sync(capsys, "backfill", "orders").endswith(" are marked; the relay sends them.\n")
    assert by_hand.marked() >= Order.objects.count()
    assert f"{by_hand.marked()} to send" in sync(capsys, "status")
    assert sync(capsys, "run", "orders", "--once").startswith("legacy->extracted: ")
    assert set(OwnOrder.objects.using(ALIAS).filter(pk__in=old).values_list("pk", flat=True)) == set(old)
    by_hand.settled()
    assert ", 0 differ, 0 could not be told" in sync(capsys, "verify", "orders")


def test_commands_from_different_to_equal(by_hand: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    (order,) = by_hand.place(1)
    sync(capsys, "run", "orders", "--once")
    spoil(order, total_minor=1)
    commands = {("status", "--json"): 0, ("verify", "orders", "--json"): 1, ("waiting", "odrers"): 2}
    started = {arguments: by_hand.command("sync", *arguments) for arguments in commands}
    codes = {arguments: process.process.wait(30) for arguments, process in started.items()}
    assert codes == commands, [process.output() for process in started.values()]
    standing, *_ = by_hand.json_of(started["status", "--json"])["aggregates"]
    assert (standing["captured"], standing["directions"][0]["marked"]) == (True, 0)
    found = by_hand.json_of(started["verify", "orders", "--json"])
    assert [one["key"] for one in found["findings"]] == [str(order)]
    assert "Known: orders, orders.keys, orders.numbers." in started["waiting", "odrers"].output()
    assert (
        sync(capsys, "repair", "orders") == "1 orders and orders.keys and orders.numbers are marked to be sent again.\n"
    )

    def sent_and_equal() -> bool:
        """A service that is slow for a moment gets it with the next pass."""
        sync(capsys, "run", "orders", "--once")
        with suppress(CommandError):
            return ", 0 differ, 0 could not be told" in sync(capsys, "verify", "orders")
        return False

    wait_until(sent_and_equal, "what was repaired is equal")
    by_hand.settled()


def test_commands_for_what_is_not_accepted(by_hand: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    in_the_way, stuck = by_hand.place(2)
    number = Order.objects.get(pk=in_the_way).number
    sync(capsys, "run", "orders", "--once")
    spoil(in_the_way, reference="taken")
    Order.objects.filter(pk=stuck).update(number="taken")
    sync(capsys, "run", "orders", "--once")
    (told,) = json.loads(sync(capsys, "waiting", "orders", "--json"))["waiting"]
    assert (told["key"], told["where"], "UNIQUE" in told["reason"].upper()) == (str(stuck), "out", True)
    assert "1 to send" in sync(capsys, "status")
    spoil(in_the_way, reference=number)
    assert sync(capsys, "retry", "orders", str(stuck)) == "1 are tried at once.\n"
    sync(capsys, "run", "orders", "--once")
    assert sync(capsys, "waiting", "orders") == "Nothing waits for another try.\n"
    by_hand.settled()


# --- all is well --------------------------------------------------------------------------------------------


def verified(pair: Pair) -> Run:
    """Have workers verify; return what they found."""
    operate.begin_verification("orders")
    begun = operate.verify.unfinished(LEGACY)
    assert begun is not None

    def finished() -> bool:
        begun.refresh_from_db()
        return begun.finished_at is not None

    wait_until(finished, f"the verification is finished: {pair.workers[0].output()}")
    found = operate.last_run("orders")
    assert found is not None
    return found


def test_a_backfill_under_writes_and_a_verification_by_workers(pair: Pair) -> None:
    operate.uninstall("orders")
    old = pair.place(300, seen=False)
    operate.install("orders")
    with pair.writing() as writer:
        operate.start_backfill("orders")
        wait_until(lambda: operate.standing("orders").backfill.fraction == 1.0, "everything is marked")  # type: ignore[union-attr]
        writer.wait(50)
        found = verified(pair)
        assert found.corrupt == 0, found
        writer.wait(10)
    pair.settled()
    found = verified(pair)
    assert found.clean, found
    assert found.compared >= Order.objects.filter(pk__in=old).count()
    assert operate.standing("orders").backfill.marked >= 250  # type: ignore[union-attr]


def test_lag_is_measured_and_shown(pair: Pair) -> None:
    pair.settled()
    Lag.objects.all().delete()
    begun = time.monotonic()
    with pair.writing():
        wait_until(lambda: operate.standing("orders").directions[0].lag_samples >= 50, "lag is measured")
        status = pair.command("sync", "status", "orders", "--json")
        assert status.process.wait(30) == 0, status.output()
    standing, *_ = pair.json_of(status)["aggregates"]
    out = standing["directions"][0]
    assert (out["name"], standing["captured"], standing["gaps"]) == ("legacy->extracted", True, 0)
    assert out["lag_samples"] >= 50
    assert 0 < out["lag_p50"] <= out["lag_p99"] < 1.5 * (time.monotonic() - begun)  # as fine as its buckets are
    pair.settled()


# --- processes die ------------------------------------------------------------------------------------------


def test_a_worker_that_is_killed_in_the_middle_of_a_batch(pair: Pair) -> None:
    """The service has the request and has not read it; it applies it all the same, and nobody hears of that."""
    pair.settled()
    pair.service.suspend()
    keys = [str(key) for key in pair.place(150)]
    wait_until(lambda: unread(pair.port) > SMALL, "the batch is on its way")
    pair.kill_workers()
    pair.service.resume()
    arrived = Applied.objects.using(ALIAS).filter(key__in=keys, gen__gt=0)
    wait_until(lambda: arrived.count() == 150, "the service applies it")
    assert pair.marked() >= 150
    pair.work()
    pair.settled()


def test_the_service_is_killed_in_the_middle_of_applying(pair: Pair) -> None:
    pair.settled()
    with pair.audit.tarpit():
        with transaction.atomic():  # so that no worker takes them in between
            (slow, *_) = pair.place(20, note="slow")
            OrderLine.objects.filter(order=slow).update(sku="tarpit")
        wait_until(pair.audit.stuck, "the service is in the middle of a transaction")
        assert not OwnOrder.objects.using(ALIAS).filter(pk=slow).exists()
        pair.service.kill()
    pair.start_service()
    pair.settled()
    assert OwnOrder.objects.using(ALIAS).filter(remark="slow").count() == 20


# --- messages are lost, late, twice -------------------------------------------------------------------------


def test_every_message_is_lost(pair: Pair) -> None:
    lost = 0

    def nothing_arrives() -> bool:
        nonlocal lost
        lost += pair.hints.lose()
        return lost >= 8 and pair.idle()

    with pair.writing() as writer:
        wait_until(pair.working, "somebody works")
        wait_until(nothing_arrives, "nobody works any more")
        writer.wait(20)
        assert pair.marked()
        pair.hints.keep()
        writer.wait(20)
    pair.settled()


def test_the_broker_cannot_be_reached(pair: Pair) -> None:
    """Workers find it again by themselves; those of the embedded one end and are started again."""
    with pair.writing() as writer:
        wait_until(pair.working, "somebody works")
        with pair.hints.away():
            wait_until(pair.idle, "nobody works any more")
            writer.wait(20)
        wait_until(lambda: pair.supervised() and pair.working(), "somebody works again")
        writer.wait(150)  # longer than what was begun before
    pair.settled()


@pytest.mark.broker
def test_each_task_is_delivered_twice(pair: Pair, rabbitmq_url: str) -> None:
    """Two workers with a queue each: the broker gives each of them every message."""
    first, second = pair.work(), pair.start_worker(queue="b", beat=False)
    wait_until(lambda: bool(ids(second)), "the second worker gets hints")
    before = ids(second)
    operate.start_backfill("orders", anew=True)
    with pair.writing() as writer:
        writer.wait(100)
        wait_until(lambda: len(ids(first) & ids(second) - before) > 20, "many hints come to both")
    pair.settled()
    assert verified(pair).clean
    both = ids(first) & ids(second)
    assert len(both) > 20, first.output()
    told = first.output(10**7) + second.output(10**7)
    assert re.search(r"relay orders 0 is being done by", told)
    second.kill()
    pair.workers.remove(second)


def ids(worker: RunningProcess) -> set[str]:
    """Return the ids of the hints that a worker has received."""
    return set(re.findall(r"Task strangler_sync\.\w+\[([0-9a-f-]+)\] received", worker.output(10**7)))


def test_without_a_server(by_hand: Pair, tmp_path: Path) -> None:
    """The embedded broker carries hints as well, and loses some."""
    if isinstance(by_hand.hints, Folder):
        pytest.skip("The other tests have run on it.")
    hints = Folder(tmp_path)
    by_hand.start_worker(hints)
    with by_hand.writing() as writer:
        wait_until(by_hand.working, "somebody works")
        wait_until(lambda: hints.lose() > 0, "messages are lost")
        writer.wait(50)
    by_hand.settled()
    by_hand.kill_workers()
