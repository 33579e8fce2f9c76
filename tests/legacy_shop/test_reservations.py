"""Stock that is held for orders of a service: once per saga, in whatever order and however often requests arrive."""

import json
import uuid
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from legacy_shop.accounts.models import Address
from legacy_shop.cart.models import CartLine
from legacy_shop.cart.services import set_quantity
from legacy_shop.catalog.models import Product, Restock, StockReservation
from legacy_shop.orders import reservations
from legacy_shop.orders.exceptions import OutOfStock
from legacy_shop.orders.services import place_order
from legacy_shop.orders.shelf import LineRequest
from router.identity import Identity
from tests.legacy_shop.samples import ADDRESS, SHIP_TO, at_once, make_customer, make_product, on_hand
from tests.legacy_shop.test_internal import token

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def internal(settings: Settings) -> None:
    """Answer as the internal listener does."""
    settings.ROOT_URLCONF = "legacy_shop.urls_internal"


@pytest.fixture
def product() -> Product:
    """Return something of which there are ten."""
    return make_product("12.50", stock=10)


def post(path: str, body: Any = None, identity: str | None = None) -> tuple[int, Any]:
    """Ask as the service does, on a connection of its own."""
    headers = {"X-Strangler-Identity": token() if identity is None else identity}
    data = b"" if body is None else json.dumps(body)
    answer = Client().post(f"/internal/stock/{path}/", data, content_type="application/json", headers=headers)
    return answer.status_code, answer.json()


def wish(customer: User, *lines: tuple[Product, int], **fields: Any) -> dict[str, Any]:
    wanted = [{"product": product.pk, "quantity": quantity} for product, quantity in lines] or None
    return {"customer": customer.pk, "lines": wanted, "address": ADDRESS, "expected_total": None, **fields}


def reserve(saga: uuid.UUID, body: Any) -> tuple[int, Any]:
    return post(f"reservations/{saga}", body)


def confirm(saga: uuid.UUID) -> tuple[int, Any]:
    return post(f"reservations/{saga}/confirm")


def release(saga: uuid.UUID) -> tuple[int, Any]:
    return post(f"reservations/{saga}/release")


def test_pieces_are_taken_once_and_the_answer_says_what_they_cost(customer: User, product: Product) -> None:
    saga, body = uuid.uuid4(), wish(customer, (product, 3))
    first = reserve(saga, body)
    Product.objects.update(price=99)
    assert reserve(saga, body) == first
    line = {"product": product.pk, "sku": product.sku, "name": product.name, "quantity": 3, "unit_price": "12.50"}
    assert first == (
        200,
        {"currency": "USD", "total": "37.50", "ship_to": ADDRESS, "address_entry": None, "lines": [line]},
    )
    assert on_hand(product) == 7


def test_an_entry_of_the_address_book_becomes_a_place(customer: User, product: Product) -> None:
    entry = Address.objects.create(user=customer, **ADDRESS)
    status, document = reserve(uuid.uuid4(), wish(customer, (product, 1), address=entry.pk))
    assert (status, document["ship_to"], document["address_entry"]) == (200, ADDRESS, entry.pk)


def test_confirming_keeps_them_and_releasing_gives_them_back(customer: User, product: Product) -> None:
    kept, given_back = uuid.uuid4(), uuid.uuid4()
    for saga in (kept, given_back):
        reserve(saga, wish(customer, (product, 2)))
    for _ in range(2):
        assert confirm(kept) == release(given_back) == (200, {})
    assert on_hand(product) == 8
    assert release(kept)[0] == confirm(given_back)[0] == confirm(uuid.uuid4())[0] == 409
    assert on_hand(product) == 8


def test_what_was_released_before_it_arrived_is_refused(customer: User, product: Product) -> None:
    saga = uuid.uuid4()
    assert release(saga) == (200, {})
    status, refused = reserve(saga, wish(customer, (product, 2)))
    assert (status, refused["code"], on_hand(product)) == (409, "not_reserved", 10)
    assert release(saga) == (200, {})


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"quantity": 11}, 409, {"code": "out_of_stock"}),
        ({"expected_total": "1.00"}, 409, {"code": "cart_changed", "detail": "The cart or its prices have changed."}),
        ({"product": 987}, 400, {"lines": ['Invalid pk "987" - object does not exist.']}),
        ({"address": 987}, 400, {"address": ['Invalid pk "987" - object does not exist.']}),
        ({"customer": 987}, 404, {"detail": "There is no such customer."}),
        ({"cart": True}, 400, {"cart": ["The cart is empty."]}),
    ],
)
def test_what_the_checkout_refuses_is_refused_for_good(
    customer: User, product: Product, change: dict[str, Any], status: int, said: dict[str, Any]
) -> None:
    """A copy of the request that arrives later finds the refusal, even if it could be done by then."""
    line = {"product": change.pop("product", product.pk), "quantity": change.pop("quantity", 1)}
    lines = None if change.pop("cart", False) else [line]
    body = {**wish(customer), "lines": lines, **change}
    saga = uuid.uuid4()
    first = reserve(saga, body)
    assert (first[0], said.items() <= first[1].items()) == (status, True), first
    assert reserve(saga, wish(customer, (product, 1))) == first
    assert (on_hand(product), release(saga), on_hand(product)) == (10, (200, {}), 10)


def test_a_line_that_is_out_of_stock_takes_nothing(customer: User, product: Product) -> None:
    scarce = make_product(stock=1)
    assert reserve(uuid.uuid4(), wish(customer, (product, 3), (scarce, 2)))[0] == 409
    assert (on_hand(product), on_hand(scarce)) == (10, 1)


# --- carts --------------------------------------------------------------------------------------------------


def in_cart() -> dict[int, int]:
    return dict(CartLine.objects.values_list("product", "quantity"))


def test_what_is_ordered_is_out_of_the_cart_at_once(customer: User, product: Product) -> None:
    """Whoever is told of the order finds the cart empty, however late its end is confirmed."""
    other, added = make_product(), make_product()
    set_quantity(customer, product.pk, 2)
    set_quantity(customer, other.pk, 1)
    saga = uuid.uuid4()
    assert reserve(saga, wish(customer))[1]["total"] == "37.50"
    assert in_cart() == {}
    set_quantity(customer, added.pk, 1)
    for _ in range(2):
        confirm(saga)
    assert in_cart() == {added.pk: 1}


def test_what_is_not_ordered_after_all_is_back_in_the_cart(customer: User, product: Product) -> None:
    other, added = make_product(), make_product()
    set_quantity(customer, product.pk, 2)
    set_quantity(customer, other.pk, 1)
    saga = uuid.uuid4()
    reserve(saga, wish(customer))
    set_quantity(customer, added.pk, 1)
    set_quantity(customer, other.pk, 3)
    for _ in range(2):
        release(saga)
    assert in_cart() == {product.pk: 2, other.pk: 4, added.pk: 1}
    assert (on_hand(product), on_hand(other)) == (10, 10)


def test_a_refused_cart_stays_as_it_was(customer: User, product: Product) -> None:
    set_quantity(customer, product.pk, 11)
    assert reserve(uuid.uuid4(), wish(customer))[0] == 409
    assert in_cart() == {product.pk: 11}


def test_a_cart_is_held_by_one_order_at_a_time(customer: User, product: Product) -> None:
    set_quantity(customer, product.pk, 2)
    first, second = uuid.uuid4(), uuid.uuid4()
    reserve(first, wish(customer))
    held = reserve(second, wish(customer))
    assert (held[0], held[1]["code"], on_hand(product)) == (503, "cart_held", 8)
    release(first)
    assert (reserve(second, wish(customer))[0], confirm(second)[0]) == (200, 200)
    assert (on_hand(product), CartLine.objects.count()) == (8, 0)


# --- at the same time ---------------------------------------------------------------------------------------


def test_the_same_reservation_many_times_at_once(customer: User, product: Product) -> None:
    saga = uuid.uuid4()
    answers = at_once([lambda: reserve(saga, wish(customer, (product, 4)))] * 6)
    assert (answers, on_hand(product)) == ([answers[0]] * 6, 6)


def test_reserving_and_releasing_at_once_ends_released(customer: User, product: Product) -> None:
    for _ in range(6):
        saga = uuid.uuid4()
        reserved, released = at_once(
            [lambda saga=saga: reserve(saga, wish(customer, (product, 4))), lambda saga=saga: release(saga)]
        )
        assert (reserved[0] in {200, 409}, released) == (True, (200, {}))
        assert (StockReservation.objects.get(pk=saga).state, on_hand(product)) == ("released", 10)


def test_nothing_is_sold_twice(product: Product) -> None:
    customers = [make_customer() for _ in range(12)]

    def buy_here(customer: User) -> bool:
        try:
            place_order(customer=customer, lines=[LineRequest(product.pk, 1)], ship_to=SHIP_TO)
        except OutOfStock:
            return False
        return True

    jobs: list[Any] = [lambda one=one: buy_here(one) for one in customers[:6]]
    jobs += [lambda one=one: reserve(uuid.uuid4(), wish(one, (product, 1)))[0] == 200 for one in customers[6:]]
    assert (sum(at_once(jobs)), on_hand(product)) == (10, 0)


# --- restock ------------------------------------------------------------------------------------------------


def test_pieces_come_back_once_per_key(product: Product) -> None:
    other = make_product(stock=0)
    body = {"lines": [{"product": other.pk, "quantity": 2}, {"product": product.pk, "quantity": 1000}]}
    answers = at_once([lambda: post("restocks/saga-1", body)] * 4)
    assert (answers, on_hand(product), on_hand(other)) == ([(200, {})] * 4, 1010, 2)
    post("restocks/saga-2", body)
    assert on_hand(other) == 4


# --- who may ask, and what ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["reservations/{}", "reservations/{}/confirm", "reservations/{}/release", "restocks/{}"]
)
def test_only_services_may_ask(customer: User, product: Product, path: str) -> None:
    path, body = path.format(uuid.uuid4()), wish(customer, (product, 1))
    browser = Identity(subject="7", kind="session", staff=True, superuser=True)
    for identity, status in (("", 401), (token(audience="orders"), 401), (token(browser), 403)):
        assert post(path, body, identity)[0] == status
    assert (on_hand(product), StockReservation.objects.count(), Restock.objects.count()) == (10, 0, 0)


@pytest.mark.parametrize("body", [b"{", {}, {"lines": [], "customer": 1, "address": 1}, {"customer": 1, "lines": None}])
def test_bodies_that_say_nothing(body: Any) -> None:
    for path in (f"reservations/{uuid.uuid4()}", "restocks/x"):
        headers = {"X-Strangler-Identity": token()}
        data = body if isinstance(body, bytes) else json.dumps(body)
        answer = Client().post(f"/internal/stock/{path}/", data, content_type="application/json", headers=headers)
        assert answer.status_code == 422


# --- looking after them -------------------------------------------------------------------------------------


def report(*args: str) -> str:
    out = StringIO()
    call_command("stock_reservations", *args, stdout=out)
    return out.getvalue()


def test_overdue_ones_are_reported_and_left_alone(customer: User, product: Product) -> None:
    saga = uuid.uuid4()
    reserve(saga, wish(customer, (product, 3)))
    assert report() == "No reservation is overdue.\n"
    out = StringIO()
    with pytest.raises(CommandError, match="1 reservations are not confirmed") as error:
        call_command("stock_reservations", "--older-than", "0", "--json", stdout=out)
    assert error.value.returncode == 1
    (found,) = json.loads(out.getvalue())
    assert (found["saga"], found["lines"]) == (str(saga), [[product.pk, 3]])
    assert on_hand(product) == 7
    confirm(saga)
    assert json.loads(report("--older-than", "0", "--json")) == []


def test_those_that_ended_long_ago_are_forgotten(customer: User, product: Product) -> None:
    ended, held = uuid.uuid4(), uuid.uuid4()
    for saga in (ended, held):
        reserve(saga, wish(customer, (product, 1)))
    confirm(ended)
    post("restocks/x", {"lines": [{"product": product.pk, "quantity": 1}]})
    assert reservations.purge() == 0
    long_ago = timezone.now() - timedelta(days=31)
    StockReservation.objects.update(made_at=long_ago)
    StockReservation.objects.filter(pk=ended).update(ended_at=long_ago)
    Restock.objects.update(made_at=long_ago)
    assert (reservations.purge(), [row.pk for row in StockReservation.objects.all()]) == (2, [held])
