"""The service writes orders in its own store, while stock, carts and payments stay with the shop."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from demo.provider import Control, ProviderServer
from extracted.orders.own_store import ids, settling
from extracted.orders.own_store import models as kept
from legacy_shop.cart.models import CartLine
from legacy_shop.catalog.models import Product
from migrations_plan.sync.buckets import bucket
from migrations_plan.sync.events.models import OutboxEvent
from migrations_plan.sync.models import Mark, Ownership
from router.idempotency.models import IdempotencyKey
from router.sagas.models import Saga
from router.service import versions
from router.service.headers import WROTE_HEADER
from router.testing import override_envelope, override_ownership
from tests.extracted import shop
from tests.extracted.conftest import Service
from tests.extracted.own_store.asking import (
    CARD,
    MONOLITH,
    attempts,
    cancel,
    ended,
    held,
    moved,
    orders,
    place,
    resume,
    wish,
)
from tests.extracted.own_store.conftest import Monolith
from tests.extracted.sides import Sides
from tests.own import ALIAS
from tests.processes import wait_until

pytestmark = pytest.mark.django_db(databases=["default", "own"], transaction=True)
LATER = (shop.NOON + timedelta(days=3650)).isoformat()


def told() -> list[tuple[str, int]]:
    """Return type and number of each event of the service's outbox."""
    rows = OutboxEvent.objects.using(ALIAS).order_by("pk").values_list("type", "sequence")
    return [(kind.rpartition(".")[2], number) for kind, number in rows]


# --- placing ------------------------------------------------------------------------------------------------


def test_an_order_is_placed_paid_and_cancelled(
    own: Service, customer: User, product: Product, bank: ProviderServer
) -> None:
    placed = place(own, customer, wish(product, 2, card=CARD, note="ring"))
    assert placed.status_code == 201, placed.text
    order = placed.json()
    assert (order["status"], order["payment"], order["total"], order["note"]) == ("paid", "paid", "25.00", "ring")
    assert order["ship_to"] == shop.HOME
    row = kept.Order.objects.get()
    assert (row.pk, row.buyer, row.given_name) == (order["id"], customer.pk, "Ann")
    keys = [row.pk, row.items.get().pk, row.attempts.get().pk]
    assert all(ids.RANGE_START <= key < ids.RANGE_END for key in keys)
    assert (shop.on_hand(product), held(), ended()) == (8, {"confirmed": 1}, {"done": 1})
    cancelled = cancel(own, customer, order["id"])
    assert (cancelled.status_code, cancelled.json()["payment"]) == (200, "refunded"), cancelled.text
    assert (shop.on_hand(product), ended()) == (10, {"done": 2})
    assert moved(bank, "charge") == moved(bank, "refund") == [("succeeded", 2500)]
    assert told() == [("placed", 1), ("paid", 2), ("cancelled", 3)]


def test_each_write_names_the_version_it_made(fenced: None, own: Service, customer: User, product: Product) -> None:
    placed = place(own, customer, wish(product, 2))
    order = placed.json()["id"]
    first = versions.read(placed.headers[WROTE_HEADER])
    cancelled = cancel(own, customer, order)
    then = versions.read(cancelled.headers[WROTE_HEADER])
    key = ("orders", str(order))
    assert (set(first), set(then), first[key] < then[key]) == ({key}, {key}, True)
    assert then[key] == Mark.objects.using(ALIAS).get(aggregate="orders", key=str(order)).gen
    refused = cancel(own, customer, order)
    assert (refused.status_code, refused.headers.get(WROTE_HEADER)) == (409, None)


@pytest.fixture
def sides(own: Service) -> Iterator[Sides]:
    """Return the service, and the shop as it answers by itself."""
    with override_envelope("orders"), override_ownership("orders"):
        yield Sides(own)


def test_it_answers_what_the_shop_answers(sides: Sides, customer: User, product: Product) -> None:
    """But for what each order has of its own."""
    home = shop.make_address(customer)
    own_words = {"id", "number", "placed_at"}
    for body in (wish(product, 2), wish(product, address=home.pk), wish(product, expected_total="12.50")):
        legacy, extracted = (ask("POST", "/api/orders/", customer, body, {}) for ask in (sides.legacy, sides.extracted))
        assert legacy[0] == extracted[0] == 201
        assert legacy[2] == extracted[2]
        pair = [{k: v for k, v in shop_json(answer).items() if k not in own_words} for answer in (legacy, extracted)]
        assert pair[0] == pair[1]
    assert kept.Order.objects.filter(address_entry=home.pk).count() == 1


def shop_json(answer: Any) -> dict[str, Any]:
    return dict(json.loads(answer[1]))


def test_refusals_are_the_shops_to_the_byte(sides: Sides, customer: User, product: Product) -> None:
    dear = shop.make_product("99999999.99", on_hand=999)
    gone = shop.make_product(is_active=False)
    foreign = shop.make_address(shop.make_customer())
    for body, status in (
        (wish(product, 11), 409),
        (wish(product, expected_total="12.49"), 409),
        (wish(gone), 400),
        (wish(dear, 999), 400),
        (wish(product, address=foreign.pk), 400),
        ({"cart": True, "address": shop.HOME}, 400),
        ({"lines": [{"product": 987, "quantity": 1}, {"product": 988, "quantity": 1}], "address": shop.HOME}, 400),
    ):
        assert sides.both("POST", "/api/orders/", customer, body)[0] == status
    assert (orders(), shop.on_hand(product), ended()) == ([], 10, {"compensated": 7})
    assert held() == {"refused": 7}


def test_a_free_order_is_paid_at_once(own: Service, customer: User) -> None:
    placed = place(own, customer, wish(shop.make_product("0.00"), card=CARD))
    assert (placed.json()["status"], placed.json()["payment"], attempts()) == ("paid", "none", [])
    assert told() == [("placed", 1), ("paid", 2)]


def test_the_cart_is_ordered_once(own: Service, customer: User, product: Product) -> None:
    shop.fill_cart(customer, (product, 2))
    body = {"cart": True, "address": shop.HOME}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: place(own, customer, body), range(4)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes[0] == 201
    assert set(codes[1:]) <= {400, 503}, [answer.text for answer in answers]
    assert (orders(), shop.on_hand(product), CartLine.objects.count()) == ([("pending", 2500)], 8, 0)
    again = place(own, customer, body)
    assert (again.status_code, again.json()) == (400, {"cart": ["The cart is empty."]})


def test_a_key_orders_once(own: Service, customer: User, product: Product) -> None:
    body = wish(product, card=CARD)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: place(own, customer, body, key="k"), range(4)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    last = place(own, customer, body, key="k")
    assert (last.status_code, last.headers["Idempotency-Replayed"]) == (201, "true")
    assert (orders(), shop.on_hand(product)) == ([("paid", 1250)], 9)
    assert held() == {"confirmed": 1}
    assert place(own, customer, wish(product, 2), key="k").status_code == 422


def test_a_refusal_is_kept_for_its_key(own: Service, customer: User, product: Product) -> None:
    first = place(own, customer, wish(product, 11), key="k")
    again = place(own, customer, wish(product, 11), key="k")
    assert (first.status_code, again.content, again.headers["Idempotency-Replayed"]) == (409, first.content, "true")
    assert held() == {"refused": 1}


def test_many_buyers_get_what_there_is(own: Service, customer: User, product: Product) -> None:
    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(lambda _: place(own, customer, wish(product)).status_code, range(14)))
    assert (codes.count(201), codes.count(409), shop.on_hand(product)) == (10, 4, 0)


# --- the shop is away ---------------------------------------------------------------------------------------


def test_without_the_shop_nothing_is_ordered(
    own: Service, customer: User, product: Product, monolith: Monolith
) -> None:
    """What the frozen shop does when it wakes up is undone: the reservation comes too late, or is given back."""
    monolith.process.suspend()
    refused = place(own, customer, wish(product), key="k")
    monolith.process.resume()
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1"), refused.text
    assert refused.json()["code"] == "shop_unavailable"
    assert orders() == []
    resume(own)
    assert (ended(), held(), shop.on_hand(product)) == ({"compensated": 1}, {"released": 1}, 10)
    assert place(own, customer, wish(product), key="k").status_code == 201


def test_stock_comes_back_when_the_shop_does(
    own: Service, customer: User, product: Product, monolith: Monolith
) -> None:
    order = place(own, customer, wish(product, 3)).json()["id"]
    monolith.process.suspend()
    cancelled = cancel(own, customer, order)
    monolith.process.resume()
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    for _ in range(2):
        resume(own)
    assert (shop.on_hand(product), ended()) == (10, {"done": 2})


# --- the fence ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("fenced")
def test_what_is_not_ours_is_refused_and_undone(own: Service, customer: User, product: Product) -> None:
    ours = place(own, customer, wish(product)).json()["id"]
    rows = Ownership.objects.using(ALIAS).filter(bucket=bucket("orders", customer.pk))
    rows.update(state=Ownership.State.REPLICA)
    for answer in (
        place(own, customer, wish(product, 2), key="k"),
        cancel(own, customer, ours),
        own.call("PATCH", f"/api/orders/{ours}/address/", shop.identity(customer), body=shop.HOME),
        own.call("POST", f"/internal/orders/{ours}/paid/", MONOLITH, body={"paid_at": LATER}),
        own.call("POST", f"/internal/orders/{ours}/expire/", MONOLITH, body={"placed_before": LATER}),
    ):
        assert (answer.status_code, answer.headers["X-Strangler-Not-Owner"]) == (409, "orders"), answer.text
    assert (orders(), shop.on_hand(product)) == ([("pending", 1250)], 9)
    assert (ended(), held()) == ({"compensated": 1, "done": 1}, {"confirmed": 1, "released": 1})
    assert not IdempotencyKey.objects.using(ALIAS).filter(key="k").exists()
    rows.update(state=Ownership.State.OWNER)
    assert place(own, customer, wish(product, 2), key="k").status_code == 201


@pytest.mark.usefixtures("fenced")
def test_a_bucket_that_leaves_after_the_commit_refuses_nothing(
    own: Service, customer: User, product: Product, bank: ProviderServer
) -> None:
    """The order is placed; its new owner settles what is open."""
    bank.control = Control(latency_ms=1000)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(place, own, customer, wish(product, card=CARD))
        wait_until(kept.Order.objects.exists, "the order is committed")
        Ownership.objects.using(ALIAS).update(state=Ownership.State.REPLICA)
        placed = asked.result(20)
    assert (placed.status_code, placed.json()["payment"]) == (201, "open"), placed.text
    assert (attempts(), moved(bank, "charge")) == ([("charge", "open")], [("succeeded", 1250)])


# --- the other writes ---------------------------------------------------------------------------------------


def test_an_order_goes_elsewhere(own: Service, customer: User, product: Product) -> None:
    home = shop.make_address(customer)
    order = place(own, customer, wish(product, address=home.pk)).json()["id"]
    there = {**shop.HOME, "name": "Cher", "city": "Bern"}
    answer = own.call("PATCH", f"/api/orders/{order}/address/", shop.identity(customer), body=there)
    assert (answer.status_code, answer.json()["ship_to"]) == (200, there)
    row = kept.Order.objects.get()
    assert (row.given_name, row.family_name, row.address_entry) == (None, "Cher", None)


def test_other_peoples_orders_are_not_found(own: Service, customer: User, product: Product) -> None:
    order, bob = place(own, customer, wish(product)).json()["id"], shop.identity(shop.make_customer())
    assert own.call("POST", f"/api/orders/{order}/cancel/", bob).status_code == 404
    assert own.call("PATCH", f"/api/orders/{order}/address/", bob, body=shop.HOME).status_code == 404


def test_an_unpaid_order_expires_and_its_stock_comes_back(own: Service, customer: User, product: Product) -> None:
    order = place(own, customer, wish(product, 4)).json()["id"]
    path = f"/internal/orders/{order}/expire/"
    early = own.call("POST", path, MONOLITH, body={"placed_before": shop.NOON.isoformat()})
    assert early.json() == {"expired": False, "pieces": 0}
    done = own.call("POST", path, MONOLITH, body={"placed_before": LATER})
    assert (done.json(), orders(), shop.on_hand(product)) == (
        {"expired": True, "pieces": 4},
        [("expired", 5000)],
        10,
    )
    assert cancel(own, customer, order).status_code == 409


def test_money_that_arrived_is_noted_once(own: Service, customer: User, product: Product) -> None:
    order = place(own, customer, wish(product)).json()["id"]
    for _ in range(2):
        answer = own.call("POST", f"/internal/orders/{order}/paid/", MONOLITH, body={"paid_at": LATER})
        assert answer.json() == {"status": "paid"}
    assert told() == [("placed", 1), ("paid", 2)]


# --- late money ---------------------------------------------------------------------------------------------


def test_a_charge_without_an_answer_is_settled_later(
    own: Service, customer: User, product: Product, bank: ProviderServer
) -> None:
    bank.control = Control(fail_rate=1.0)
    placed = place(own, customer, wish(product, card=CARD))
    assert (placed.status_code, placed.json()["payment"]) == (201, "open")
    bank.control = Control()
    assert resume(own)["settled"] == 1
    assert (orders(), attempts(), moved(bank, "charge")) == (
        [("paid", 1250)],
        [("charge", "succeeded")],
        [("succeeded", 1250)],
    )
    assert resume(own) == {"sagas": 0, "finished": 0, "attempts": 0, "settled": 0}


def test_of_too_many_left_open_the_oldest_do_not_keep_out_the_rest() -> None:
    passes = [settling.some(list(range(10)), 4) for _ in range(400)]
    assert all(found[:2] == [0, 1] and len(found) == 4 and found == sorted(found) for found in passes)
    assert {order for found in passes for order in found} == set(range(10))
    assert settling.some([1, 2], 2) == [1, 2]


def test_a_cancelled_orders_late_charge_is_given_back_once(
    own: Service, customer: User, product: Product, bank: ProviderServer
) -> None:
    """The provider has booked it, and nobody knew when the order was called off."""
    bank.control = Control(answer_late_rate=1.0, late_ms=4000)
    order = place(own, customer, wish(product, card=CARD)).json()["id"]
    assert cancel(own, customer, order).json()["payment"] == "open"
    bank.control = Control()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: resume(own), range(3)))
    resume(own)
    assert attempts() == [("charge", "succeeded"), ("refund", "succeeded")]
    assert moved(bank, "charge") == moved(bank, "refund") == [("succeeded", 1250)]
    assert (orders(), shop.on_hand(product)) == ([("cancelled", 1250)], 10)


def test_only_what_we_own_is_settled(own: Service, customer: User, product: Product, bank: ProviderServer) -> None:
    bank.control = Control(fail_rate=1.0)
    place(own, customer, wish(product, card=CARD))
    bank.control = Control()
    Ownership.objects.using(ALIAS).update(state=Ownership.State.REPLICA)
    assert resume(own)["attempts"] == 0
    assert (attempts(), moved(bank, "charge")) == ([("charge", "open")], [])


def test_a_charge_that_the_shop_settled_before_the_move_is_told(own: Service, customer: User, product: Product) -> None:
    order = place(own, customer, wish(product)).json()["id"]
    given = {"direction": "charge", "amount_minor": 1250, "currency": "USD", "card_token": CARD}
    kept.Attempt.objects.create(
        pk=5,
        order_id=order,
        state="succeeded",
        provider_key="9f4b1c1e-6f0c-4f0e-8a53-2d8c2a5e7a11",
        opened_at=shop.NOON,
        settled_at=shop.NOON,
        **given,
    )
    assert resume(own)["settled"] == 1
    row = kept.Order.objects.get()
    assert (row.state, row.paid_at, row.attempts.get().told_at is None) == ("paid", shop.NOON, False)


# --- who may ask --------------------------------------------------------------------------------------------


def test_only_the_monolith_may_have_things_settled(own: Service, customer: User, product: Product) -> None:
    order = place(own, customer, wish(product)).json()["id"]
    for path in (f"/internal/orders/{order}/settle/", "/internal/resume/", "/internal/events/take/"):
        assert own.call("POST", path, shop.identity(customer), body={}).status_code == 403
    assert own.call("POST", f"/internal/orders/{order}/settle/", MONOLITH).json() == {"open": 0}
    assert own.call("POST", "/internal/orders/1/settle/", MONOLITH).status_code == 404
    assert Saga.objects.using(ALIAS).filter(state="done").count() == 1


def test_the_schema_says_what_writes_are_answered(own: Service) -> None:
    schema = own.call("GET", "/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"}).json()
    for path, method in (("/api/orders/", "post"), ("/internal/orders/{order_id}/charge/", "post")):
        assert {"409", "503"} <= set(schema["paths"][path][method]["responses"])
    assert "/internal/events/take/" in schema["paths"]
