"""The back office: every page loads, orders change through the services only, ledgers do not change at all."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import models
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from legacy_shop.accounts.models import Address, LoyaltyBooking
from legacy_shop.cart.models import Cart
from legacy_shop.cart.services import set_quantity
from legacy_shop.catalog.models import Category, Product, Stock
from legacy_shop.orders.models import Order
from legacy_shop.payments.models import PaymentAttempt
from tests.legacy_shop.samples import ADDRESS, make_customer, make_order, make_product, on_hand

pytestmark = pytest.mark.django_db
SHOP_MODELS = (User, Address, LoyaltyBooking, Category, Product, Stock, Cart, Order, PaymentAttempt)
LEDGERS = (LoyaltyBooking, PaymentAttempt, Cart)


def pages(model: type[models.Model], page: str = "changelist", *args: Any) -> str:
    """Return the address of an admin page."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


@pytest.fixture
def order() -> Order:
    """Return an order of a shop in which every table has a row."""
    customer, product = make_customer(), make_product(stock=10)
    Address.objects.create(user=customer, **ADDRESS)
    set_quantity(customer, product.pk, 1)
    order = make_order(customer, product, 2, card="tok_visa")
    LoyaltyBooking.objects.create(user=customer, order=order, points=5, booked_at=timezone.now())
    return order


def product_of(order: Order) -> Product:
    return order.lines.get().product


def cancel(client: Client, *orders: Order) -> str:
    """Run the cancel action and return the page it leads to."""
    data = {"action": "cancel", "_selected_action": [order.pk for order in orders]}
    return client.post(pages(Order), data, follow=True).content.decode()


@pytest.mark.parametrize("model", SHOP_MODELS, ids=lambda model: model.__name__)
def test_lists_and_pages_load(admin_client: Client, order: Order, model: type[models.Model]) -> None:
    """With a search, and one row opened."""
    assert model in admin.site._registry
    assert admin_client.get(pages(model), {"q": "a"}).status_code == 200
    assert admin_client.get(pages(model)).status_code == 200
    row = model._default_manager.first()
    assert row is not None
    assert admin_client.get(pages(model, "change", row.pk)).status_code == 200


@pytest.mark.parametrize("model", [Order, Product, Stock, PaymentAttempt, User], ids=lambda model: model.__name__)
def test_lists_cost_the_same_for_many_rows(
    admin_client: Client,
    order: Order,
    model: type[models.Model],
    django_assert_num_queries: Callable[..., DjangoAssertNumQueries],
) -> None:
    """Lists of thousands of orders must not ask the database for each."""
    with django_assert_num_queries(30, exact=False) as first:  # type: ignore[call-arg]
        admin_client.get(pages(model))
    for _ in range(5):
        make_order(card="tok_visa")
    with django_assert_num_queries(len(first.captured_queries), exact=False):  # type: ignore[call-arg, attr-defined]
        admin_client.get(pages(model))


@pytest.mark.parametrize("model", LEDGERS, ids=lambda model: model.__name__)
def test_ledgers_cannot_be_written(admin_client: Client, order: Order, model: type[models.Model]) -> None:
    """Not even by a superuser."""
    row = model._default_manager.first()
    assert row is not None
    assert admin_client.get(pages(model, "add")).status_code == 403
    assert admin_client.post(pages(model, "change", row.pk), {"state": "failed"}).status_code == 403
    assert admin_client.post(pages(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert 'value="delete_selected"' not in admin_client.get(pages(model)).content.decode()


class TestOrders:
    def test_cancel_goes_through_the_service(self, admin_client: Client, order: Order) -> None:
        """Stock comes back, the charge that succeeded gets its refund row, and it is on record who did it."""
        PaymentAttempt.objects.update(state="succeeded", settled_at=timezone.now())
        assert "1 order cancelled" in cancel(admin_client, order)
        order.refresh_from_db()
        assert order.status == Order.Status.CANCELLED
        assert on_hand(product_of(order)) == 10
        assert list(order.payment_attempts.values_list("kind", "state")) == [
            ("charge", "succeeded"),
            ("refund", "open"),
        ]
        entry = LogEntry.objects.get()
        assert (entry.user.username, entry.object_id, entry.get_change_message()) == (
            "admin",
            str(order.pk),
            "Cancelled.",
        )

    def test_one_that_cannot_be_cancelled_does_not_keep_the_others(self, admin_client: Client, order: Order) -> None:
        """It is named, and left as it was."""
        shipped = make_order()
        Order.objects.filter(pk=shipped.pk).update(status=Order.Status.SHIPPED)
        page = cancel(admin_client, shipped, order)
        assert f"Order {shipped.number} is shipped" in page
        assert "1 order cancelled" in page
        assert set(Order.objects.values_list("pk", "status")) == {(shipped.pk, 30), (order.pk, 90)}

    @pytest.mark.django_db(transaction=True)
    def test_the_address_can_change_until_it_is_sent(self, admin_client: Client, order: Order) -> None:
        """And nothing else can, whatever is posted."""
        form = {f"ship_{name}": value for name, value in {**ADDRESS, "city": "Bath"}.items()}
        for inline in ("lines", "payment_attempts"):
            form |= {f"{inline}-TOTAL_FORMS": "0", f"{inline}-INITIAL_FORMS": "0"}
        admin_client.post(pages(Order, "change", order.pk), {**form, "total": "0.01", "status": "40"})
        changed = Order.objects.get()
        assert (changed.ship_city, changed.total, changed.status) == ("Bath", order.total, Order.Status.PENDING)
        Order.objects.update(status=Order.Status.SHIPPED)
        admin_client.post(pages(Order, "change", order.pk), {**form, "ship_city": "Hull"})
        assert Order.objects.get().ship_city == "Bath"

    def test_orders_are_neither_added_nor_deleted(self, admin_client: Client, order: Order) -> None:
        """They are the customers' and the accountant's."""
        assert admin_client.get(pages(Order, "add")).status_code == 403
        assert admin_client.post(pages(Order, "delete", order.pk), {"post": "yes"}).status_code == 403

    def test_looking_is_not_cancelling(self, client: Client, order: Order) -> None:
        """Staff without the right to change orders are not offered the action, nor may they post it."""
        clerk = make_customer(is_staff=True)
        client.force_login(clerk)
        assert client.get(pages(Order)).status_code == 403
        cancel(client, order)
        order.refresh_from_db()
        assert order.status == Order.Status.PENDING


class TestStock:
    def adjust(self, client: Client, product: Product, pieces: int | str) -> str:
        """Send the stock form and return the page it leads to."""
        response = client.post(pages(Stock, "change", product.pk), {"adjust_by": pieces}, follow=True)
        return response.content.decode()

    @pytest.mark.parametrize(("pieces", "left"), [(5, 15), (-10, 0), ("+3", 13)])
    def test_it_is_adjusted_by_a_difference(
        self, admin_client: Client, order: Order, pieces: int | str, left: int
    ) -> None:
        """A sale between looking and saving is not undone."""
        product = make_product(stock=12)
        admin_client.get(pages(Stock, "change", product.pk))
        Stock.objects.filter(product=product).update(on_hand=10)
        self.adjust(admin_client, product, pieces)
        assert on_hand(product) == left
        assert "Asked to adjust by" in LogEntry.objects.get().get_change_message()

    @pytest.mark.parametrize(("left", "shown"), [("none", {0}), ("few", {3}), ("", {0, 3, 10})])
    def test_what_runs_out_can_be_listed(self, admin_client: Client, left: str, shown: set[int]) -> None:
        """Sold out, nearly so, and everything."""
        for pieces in (0, 3, 10):
            make_product(stock=pieces)
        rows = admin_client.get(pages(Stock), {"left": left} if left else {}).context["cl"].queryset
        assert {row.on_hand for row in rows} == shown

    @pytest.mark.parametrize("pieces", [-11, "", "x"])
    def test_nonsense_changes_nothing(self, admin_client: Client, pieces: int | str) -> None:
        """The form says why."""
        product = make_product(stock=10)
        assert "errornote" in self.adjust(admin_client, product, pieces)
        assert on_hand(product) == 10

    def test_a_new_product_gets_its_stock(self, admin_client: Client) -> None:
        """Empty, to be filled on the stock page."""
        shelf = Category.objects.create(name="Toys", slug="toys")
        form = {"category": shelf.pk, "sku": "K-1", "slug": "kite", "name": "Kite", "price": "9.50", "is_active": "on"}
        inline = {"stock-TOTAL_FORMS": "0", "stock-INITIAL_FORMS": "0"}
        response = admin_client.post(pages(Product, "add"), {**form, **inline})
        assert response.status_code == 302, response.content.decode()
        assert on_hand(Product.objects.get(sku="K-1")) == 0
