"""Placing, cancelling and redirecting orders, alone and against others."""

from decimal import Decimal

import pytest

from demo.provider import ProviderServer
from legacy_shop.accounts.models import Address
from legacy_shop.cart.services import lines_of, set_quantity
from legacy_shop.catalog.models import Stock
from legacy_shop.orders.exceptions import (
    NotCancellable,
    NotChangeable,
    OrderTooLarge,
    OutOfStock,
    UnknownAddress,
    UnknownOrder,
    UnknownProduct,
)
from legacy_shop.orders.models import Order
from legacy_shop.orders.services import (
    LineRequest,
    ShipTo,
    address_of,
    cancel_order,
    change_address,
    place_order,
)
from legacy_shop.payments.models import PaymentAttempt
from legacy_shop.payments.services import run_due_attempts
from migrations_plan.sync.events.models import OutboxEvent
from tests.legacy_shop.samples import (
    ADDRESS,
    GOOD,
    SHIP_TO,
    at_once,
    make_customer,
    make_order,
    make_product,
    on_hand,
)

pytestmark = pytest.mark.django_db
ELSEWHERE = ShipTo(name="Bob", street="2 Side St", city="Leeds", postcode="LS1", country="GB")


def test_placing_takes_stock_and_keeps_names_and_prices() -> None:
    customer, first, second = make_customer(), make_product("12.50", 10), make_product("0.99", 5)
    entry = Address.objects.create(user=customer, **ADDRESS)

    order = place_order(
        customer=customer,
        lines=[LineRequest(second.pk, 3), LineRequest(first.pk, 2)],
        ship_to=ShipTo.of(entry),
        shipping_address=entry,
        note="ring twice",
    )

    order.refresh_from_db()
    assert (order.status, order.total, order.note) == (Order.Status.PENDING, Decimal("27.97"), "ring twice")
    assert (order.ship_name, order.ship_country, order.shipping_address) == ("Ada Byron", "GB", entry)
    assert [(line.sku, line.quantity, line.unit_price, line.amount) for line in order.lines.all()] == [
        (second.sku, 3, Decimal("0.99"), Decimal("2.97")),
        (first.sku, 2, Decimal("12.50"), Decimal("25.00")),
    ]
    assert (on_hand(first), on_hand(second)) == (8, 2)
    assert not PaymentAttempt.objects.exists()


def test_without_enough_stock_nothing_is_left_behind() -> None:
    plenty, scarce, customer = make_product(stock=10), make_product(stock=1), make_customer()
    set_quantity(customer, plenty.pk, 1)

    with pytest.raises(OutOfStock, match=scarce.name):
        place_order(
            customer=customer,
            lines=[LineRequest(plenty.pk, 1), LineRequest(scarce.pk, 2)],
            ship_to=SHIP_TO,
            card=GOOD,
            empty_cart=True,
        )

    assert (on_hand(plenty), on_hand(scarce)) == (10, 1)
    assert not Order.objects.exists()
    assert not PaymentAttempt.objects.exists()
    assert lines_of(customer).count() == 1
    assert not OutboxEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_concurrent_buyers_get_exactly_what_there_is() -> None:
    product, other = make_product(stock=5), make_product(stock=100)
    customers = [make_customer() for _ in range(12)]

    def buy(number: int) -> Order:
        lines = [LineRequest(product.pk, 1), LineRequest(other.pk, 2)]
        return place_order(
            customer=customers[number], lines=lines if number % 2 else lines[::-1], ship_to=SHIP_TO, card=GOOD
        )

    results = at_once([lambda number=number: buy(number) for number in range(12)])

    assert sorted(type(result).__name__ for result in results) == ["Order"] * 5 + ["OutOfStock"] * 7
    assert (on_hand(product), on_hand(other)) == (0, 90)
    assert Order.objects.count() == PaymentAttempt.objects.count() == 5


def test_what_is_not_sold_cannot_be_ordered() -> None:
    sold, retired = make_product(), make_product(is_active=False)
    for lines in ([LineRequest(sold.pk, 1), LineRequest(retired.pk, 1)], [LineRequest(10**15, 1)], []):
        with pytest.raises(UnknownProduct):
            place_order(customer=make_customer(), lines=lines, ship_to=SHIP_TO)
    assert on_hand(sold) == 10


def test_a_product_without_a_place_on_the_shelf_is_out_of_stock() -> None:
    product = make_product()
    Stock.objects.all().delete()
    with pytest.raises(OutOfStock):
        make_order(product=product)


def test_an_order_beyond_every_invoice_is_refused() -> None:
    with pytest.raises(OrderTooLarge):
        make_order(product=make_product("99999999.99", 999), quantity=999)


def test_an_order_that_costs_nothing_is_paid_at_once() -> None:
    order = make_order(product=make_product("0.00"), card=GOOD)

    order.refresh_from_db()
    assert (order.status, order.paid_at) == (Order.Status.PAID, order.placed_at)
    assert not PaymentAttempt.objects.exists()


def test_ordering_the_cart_empties_it() -> None:
    customer, product = make_customer(), make_product()
    set_quantity(customer, product.pk, 2)

    place_order(customer=customer, lines=[LineRequest(product.pk, 2)], ship_to=SHIP_TO, empty_cart=True)

    assert not lines_of(customer).exists()


@pytest.mark.parametrize("number", range(3))
def test_numbers_are_unique_and_short(number: int) -> None:
    numbers = {make_order().number for _ in range(3)}
    assert len(numbers) == 3
    assert all(len(number) <= 20 for number in numbers)


def test_an_address_of_somebody_else_is_unknown() -> None:
    entry = Address.objects.create(user=make_customer(), **ADDRESS)

    assert address_of(entry.user, entry.pk) == entry
    with pytest.raises(UnknownAddress, match=str(entry.pk)):
        address_of(make_customer(), entry.pk)


def test_cancelling_gives_stock_back_and_refunds_what_was_charged(provider: ProviderServer) -> None:
    product = make_product(stock=3)
    order = make_order(product=product, quantity=3, card=GOOD)
    run_due_attempts(order.pk)

    cancelled = cancel_order(order.pk, customer=order.customer)

    assert (cancelled.status, on_hand(product)) == (Order.Status.CANCELLED, 3)
    refund = PaymentAttempt.objects.get(order=order, kind="refund")
    assert (refund.state, refund.amount) == ("open", order.total)
    run_due_attempts(order.pk)
    refund.refresh_from_db()
    assert refund.state == "succeeded"
    assert len(provider.ledger.rows("refund")) == 1


def test_cancelling_an_unpaid_order_moves_no_money() -> None:
    order = make_order()
    cancel_order(order.pk)
    order.refresh_from_db()
    assert order.closed_at is not None
    assert not PaymentAttempt.objects.exists()


@pytest.mark.parametrize("status", [s for s in Order.Status if s > Order.Status.PAID])
def test_past_paid_nothing_can_be_changed(status: Order.Status) -> None:
    order, product = make_order(), make_product()
    Order.objects.filter(pk=order.pk).update(status=status)

    with pytest.raises(NotCancellable, match=f"{order.number} is {status.label}"):
        cancel_order(order.pk)
    with pytest.raises(NotChangeable, match=f"{order.number} is {status.label}"):
        change_address(order.pk, ELSEWHERE)
    order.refresh_from_db()
    assert (order.status, order.ship_city, on_hand(product)) == (status, "London", 10)


@pytest.mark.django_db(transaction=True)
def test_of_concurrent_cancellations_one_gives_stock_back() -> None:
    product = make_product(stock=4)
    order = make_order(product=product, quantity=4)

    results = at_once([lambda: cancel_order(order.pk)] * 6)

    assert sum(isinstance(result, Order) for result in results) == 1
    assert sum(isinstance(result, NotCancellable) for result in results) == 5
    assert on_hand(product) == 4


def test_the_order_of_somebody_else_is_unknown() -> None:
    order, stranger = make_order(), make_customer()
    with pytest.raises(UnknownOrder):
        cancel_order(order.pk, customer=stranger)
    with pytest.raises(UnknownOrder):
        change_address(order.pk, ELSEWHERE, customer=stranger)
    order.refresh_from_db()
    assert (order.status, order.ship_city) == (Order.Status.PENDING, "London")


def test_a_changed_address_is_no_longer_that_of_the_address_book() -> None:
    customer = make_customer()
    entry = Address.objects.create(user=customer, **ADDRESS)
    order = make_order(customer)
    Order.objects.filter(pk=order.pk).update(shipping_address=entry)

    change_address(order.pk, ELSEWHERE, customer=customer)

    order.refresh_from_db()
    assert (order.ship_name, order.ship_city, order.shipping_address) == ("Bob", "Leeds", None)
    entry.refresh_from_db()
    assert entry.city == "London"
