"""The orders service dies, hangs or errs; customers notice nothing, and no order exists twice or not at all."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from legacy_shop.orders.models import Order
from router.idempotency.models import IdempotencyKey
from tests.acceptance.conftest import Customer, House, answered_by, everywhere, orders_noted
from tests.processes import wait_until

pytestmark = pytest.mark.acceptance

StandAt = Callable[..., None]
HUNG_WRITES = 5


@pytest.fixture
def diverted(stand_at: StandAt) -> None:
    """Let the service answer everything."""
    stand_at("shared.writes@100", reads=100, writes=100)


@pytest.fixture
def well_again(house: House, customer: Customer) -> Callable[[], None]:
    """Return a function that waits until the service answers again, after each worker's breaker has closed."""

    def wait() -> None:
        everywhere(lambda: customer.call("GET", "/api/orders/"), lambda answer: answered_by(answer) == "extracted")

    return wait


def test_the_service_answers_when_all_is_well(diverted: None, customer: Customer) -> None:
    placed = customer.order("fine")
    assert placed.status_code == 201, placed.text
    assert placed.headers["X-Strangler-Side"] == "extracted"
    read = customer.call("GET", f"/api/orders/{placed.json()['id']}/")
    assert read.headers["X-Strangler-Side"] == "extracted"
    assert read.json() == placed.json()
    assert orders_noted("fine") == 1


def test_frozen_service_reads_and_writes_are_answered_by_legacy(
    diverted: None, house: House, customer: Customer, well_again: Callable[[], None]
) -> None:
    """A stopped process accepts connections and never answers; when it wakes up it must not order a second time."""
    house.orders.suspend()
    placed = customer.order("frozen")
    listed = customer.call("GET", "/api/orders/")
    house.orders.resume()
    assert placed.status_code == 201, placed.text
    assert (placed.headers["X-Strangler-Side"], listed.headers["X-Strangler-Side"]) == ("legacy", "legacy")
    assert [order["id"] for order in listed.json()["results"]] == [placed.json()["id"]]
    well_again()
    assert orders_noted("frozen") == 1
    assert not IdempotencyKey.objects.filter(state="claimed").exists()


def test_a_service_slower_than_its_deadline_orders_nothing_when_it_comes_late(
    diverted: None, house: House, customer: Customer, well_again: Callable[[], None]
) -> None:
    house.faults(latency_ms=1500)
    placed = customer.order("slow", key="slow-1")
    house.faults()
    assert placed.status_code == 201, placed.text
    assert placed.headers["X-Strangler-Side"] == "legacy"
    well_again()
    again = customer.order("slow", key="slow-1")
    assert again.json()["id"] == placed.json()["id"]
    assert orders_noted("slow") == 1


def test_a_service_that_hangs_after_its_commit_has_its_answer_found(
    diverted: None, house: House, customer: Customer, well_again: Callable[[], None]
) -> None:
    """A write may miss its deadline before its commit, on a busy machine; legacy does that one, and another is sent."""
    for attempt in range(HUNG_WRITES):
        note = f"hung-{attempt}"
        house.faults(hang_after_commit_ms=1500)
        placed = customer.order(note)
        house.faults()
        assert placed.status_code == 201, placed.text
        assert orders_noted(note) == 1
        assert Order.objects.get(note=note).pk == placed.json()["id"]
        if placed.headers.get("Idempotency-Replayed") == "true":
            return
        well_again()
    pytest.fail(f"none of {HUNG_WRITES} writes was answered from its key; the last one with {placed.headers}")


def test_server_errors_are_answered_by_legacy(diverted: None, house: House, customer: Customer) -> None:
    house.faults(fail_rate=1.0)
    placed = customer.order("err")
    listed = customer.call("GET", "/api/orders/")
    house.faults()
    assert (placed.status_code, listed.status_code) == (201, 200)
    assert placed.headers["X-Strangler-Reason"].endswith("fallback:status-500")
    assert orders_noted("err") == 1


def test_a_refusal_by_the_fallback_stands_even_when_the_service_comes_late(
    diverted: None, house: House, customer: Customer, well_again: Callable[[], None]
) -> None:
    """Told "out of stock" by legacy, the client must not get the order from the request still queued at the service."""
    house.faults(latency_ms=1500)
    refused = customer.order("refused", key="refused-1", quantity=500)
    assert refused.status_code == 409, refused.text
    customer.product.stock.on_hand = 5000
    customer.product.stock.save()
    house.faults()
    well_again()
    again = customer.order("refused", key="refused-1", quantity=500)
    assert (again.status_code, again.json()["code"]) == (409, "out_of_stock")
    assert orders_noted("refused") == 0


def test_the_breaker_opens_and_closes_again(
    diverted: None, house: House, customer: Customer, well_again: Callable[[], None]
) -> None:
    house.faults(fail_rate=1.0)
    reasons: set[str] = set()

    def opened() -> bool:
        answer = customer.call("GET", "/api/orders/")
        assert answer.status_code == 200
        reasons.add(answer.headers["X-Strangler-Reason"].rpartition(":")[2])
        return "breaker-open" in reasons

    wait_until(opened, "the breaker opens", timeout=20)
    house.faults()
    well_again()
    assert reasons == {"status-500", "breaker-open"}


def test_killed_under_fire_every_acknowledged_order_exists_once(
    diverted: None, house: House, make_customer: Callable[..., Customer], well_again: Callable[[], None]
) -> None:
    """Workers of the service die by SIGKILL while orders come in; gunicorn brings new ones up."""
    customers = [make_customer() for _ in range(4)]
    stop, acknowledged = threading.Event(), []

    def shop(number: int) -> None:
        for turn in range(200):
            if stop.is_set():
                return
            note = f"fire-{number}-{turn}"
            answer = customers[number].order(note)
            assert answer.status_code == 201, answer.text
            acknowledged.append(note)

    with ThreadPoolExecutor(4) as pool:
        shoppers = [pool.submit(shop, number) for number in range(4)]
        try:
            for round_ in range(3):
                wait_until(lambda seen=round_: len(acknowledged) >= 8 * (seen + 1), "orders come in")
                house.kill_workers("orders")
            wait_until(lambda: len(acknowledged) >= 36, "orders come in after the kills")
        finally:
            stop.set()
        for shopper in shoppers:
            shopper.result(timeout=60)
    well_again()
    assert len(acknowledged) >= 30
    found = list(Order.objects.filter(note__startswith="fire-").values_list("note", flat=True))
    assert sorted(found) == sorted(acknowledged)
