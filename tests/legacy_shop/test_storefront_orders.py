"""The pages a person orders with, against a real payment provider."""

import re
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from demo.provider import Control, ProviderServer
from legacy_shop.accounts.models import Address
from legacy_shop.cart.models import CartLine
from legacy_shop.catalog.models import Product, Stock
from legacy_shop.orders.models import Order
from legacy_shop.payments.models import PaymentAttempt
from tests.legacy_shop.browsing import fill, get, post
from tests.legacy_shop.samples import ADDRESS, at_once, make_customer, make_order, make_product, on_hand

pytestmark = pytest.mark.django_db(transaction=True)
WRITTEN = {"address": "new", **ADDRESS, "save_address": "on"}


class TestCheckout:
    def test_with_a_good_card(self, shopper: Client, customer: User, provider: ProviderServer) -> None:
        """Stock, order, charge, cart and address book are right afterwards."""
        book, kite = make_product("10.00"), make_product("2.25")
        fill(shopper, book, 2)
        fill(shopper, kite, 1)
        assert 'name="seen_total" value="22.25"' in get(shopper, "/checkout/")
        page = post(shopper, "/checkout/", {**WRITTEN, "card": "tok_visa", "note": "Ring twice", "seen_total": "22.25"})
        assert "is placed" in page
        assert "Your payment has arrived." in page
        assert "Ring twice" in page
        order = Order.objects.get()
        assert (order.customer, order.total, order.status) == (customer, Decimal("22.25"), Order.Status.PAID)
        assert (on_hand(book), on_hand(kite)) == (8, 9)
        assert not CartLine.objects.exists()
        assert (order.ship_street, customer.addresses.get().street) == (WRITTEN["street"], WRITTEN["street"])
        assert [row["status"] for row in provider.ledger.rows("charge")] == ["succeeded"]

    def test_declined_then_paid(self, shopper: Client, provider: ProviderServer) -> None:
        """The order stays, and another card pays it."""
        fill(shopper, make_product("5.00"))
        page = post(shopper, "/checkout/", {**WRITTEN, "card": "tok_declined", "seen_total": "5.00"})
        assert "Your card was declined" in page
        assert "Pay again with" in page
        order = Order.objects.get()
        assert "declined" in post(shopper, f"/orders/{order.pk}/pay/", {"card": "tok_declined"})
        page = post(shopper, f"/orders/{order.pk}/pay/", {"card": "tok_visa"})
        assert "Your payment has arrived." in page
        assert "Pay again" not in page
        assert "waits for no money" in post(shopper, f"/orders/{order.pk}/pay/", {"card": "tok_visa"})
        assert [row["status"] for row in provider.ledger.rows("charge")] == ["failed", "failed", "succeeded"]

    def test_pay_later(self, shopper: Client, provider: ProviderServer) -> None:
        """Nothing is charged until the customer says so."""
        fill(shopper, make_product("5.00"))
        page = post(shopper, "/checkout/", {**WRITTEN, "card": "", "seen_total": "5.00"})
        assert "waits for your payment" in page
        assert not PaymentAttempt.objects.exists()
        assert "has arrived" in post(shopper, f"/orders/{Order.objects.get().pk}/pay/", {"card": "tok_visa"})

    def test_an_answer_that_does_not_come(self, shopper: Client, provider: ProviderServer) -> None:
        """The order is placed all the same, and nobody is asked to pay twice."""
        provider.control = Control(fail_rate=1.0)
        fill(shopper, make_product("5.00"))
        page = post(shopper, "/checkout/", {**WRITTEN, "card": "tok_visa", "seen_total": "5.00"})
        assert "The bank has not answered yet" in page
        assert "Pay with" not in page
        assert PaymentAttempt.objects.get().state == "open"

    def test_with_the_address_book(self, shopper: Client, customer: User, provider: ProviderServer) -> None:
        """The default is chosen; other people's addresses are no choice."""
        mine = Address.objects.create(user=customer, **ADDRESS)
        best = Address.objects.create(user=customer, **{**ADDRESS, "city": "Bath"}, is_default=True)
        foreign = Address.objects.create(user=make_customer(), **ADDRESS)
        fill(shopper, make_product("5.00"))
        assert f'value="{best.pk}" id="id_address_0" checked' in get(shopper, "/checkout/").replace(
            ' checked id="id_address_0"', ' id="id_address_0" checked'
        )
        form = {"card": "", "seen_total": "5.00"}
        post(shopper, "/checkout/", {**form, "address": foreign.pk}, 422)
        assert not Order.objects.exists()
        post(shopper, "/checkout/", {**form, "address": mine.pk})
        order = Order.objects.get()
        assert (order.shipping_address, order.ship_city) == (mine, "London")
        assert customer.addresses.count() == 2

    def test_a_new_address_need_not_be_kept(self, shopper: Client, customer: User, provider: ProviderServer) -> None:
        """It is on the order only then."""
        fill(shopper, make_product("5.00"))
        form = {**WRITTEN, "card": "", "seen_total": "5.00"}
        del form["save_address"]
        post(shopper, "/checkout/", form)
        assert Order.objects.get().ship_street == ADDRESS["street"]
        assert not customer.addresses.exists()

    @pytest.mark.parametrize("field", ["name", "street", "city", "postcode", "country"])
    def test_an_incomplete_address(self, shopper: Client, field: str) -> None:
        """The form comes back with what was written, and nothing is ordered."""
        fill(shopper, make_product("5.00"))
        page = post(shopper, "/checkout/", {**WRITTEN, field: "", "card": "tok_visa", "seen_total": "5.00"}, 422)
        assert "This field is required" in page
        assert not Order.objects.exists()
        assert CartLine.objects.exists()

    def test_an_invented_card(self, shopper: Client) -> None:
        """Only the cards on the page can be charged."""
        fill(shopper, make_product("5.00"))
        post(shopper, "/checkout/", {**WRITTEN, "card": "4111111111111111", "seen_total": "5.00"}, 422)
        assert not Order.objects.exists()

    def test_a_price_that_rose_is_not_charged_unseen(self, shopper: Client) -> None:
        """The customer sees the new total first."""
        product = make_product("5.00")
        fill(shopper, product)
        Product.objects.filter(pk=product.pk).update(price=Decimal("6.00"))
        page = post(shopper, "/checkout/", {**WRITTEN, "card": "tok_visa", "seen_total": "5.00"}, 422)
        assert "have changed" in page
        assert 'name="seen_total" value="6.00"' in page
        assert not Order.objects.exists()
        assert not Address.objects.exists()

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda product: Stock.objects.filter(product=product).update(on_hand=1), "out of stock"),
            (lambda product: Product.objects.filter(pk=product.pk).update(is_active=False), "no longer sold"),
        ],
        ids=["sold meanwhile", "withdrawn"],
    )
    def test_what_cannot_be_had(self, shopper: Client, change: object, reason: str) -> None:
        """Nothing is left behind but the cart."""
        product = make_product("5.00")
        fill(shopper, product, 2)
        change(product)  # type: ignore[operator]
        page = post(shopper, "/checkout/", {**WRITTEN, "card": "tok_visa", "seen_total": "10.00"}, 422)
        assert reason in page
        assert not Order.objects.exists()
        assert not Address.objects.exists()
        assert CartLine.objects.get().quantity == 2

    def test_a_second_click_orders_nothing(self, customer: User, provider: ProviderServer) -> None:
        """Two submissions of one page at the same moment make one order."""
        product = make_product("5.00")

        def submit() -> int:
            browser = Client()
            browser.force_login(customer)
            form = {**WRITTEN, "card": "tok_visa", "seen_total": "5.00"}
            return browser.post("/checkout/", form).status_code

        browser = Client()
        browser.force_login(customer)
        fill(browser, product)
        assert at_once([submit, submit]) == [302, 302]
        assert Order.objects.count() == 1
        assert on_hand(product) == 9
        assert len(provider.ledger.rows("charge")) == 1


class TestOrders:
    def test_no_orders(self, shopper: Client) -> None:
        """An empty list invites."""
        assert "No orders yet" in get(shopper, "/orders/")

    def test_the_list_shows_own_orders_newest_first(self, shopper: Client, customer: User) -> None:
        """With status and payment, twenty a page."""
        product = make_product(stock=100)
        numbers = [make_order(customer, product).number for _ in range(21)]
        foreign = make_order(product=product).number
        page = get(shopper, "/orders/")
        assert re.findall(r">(\d{6}-[0-9A-F]+)</a>", page) == numbers[:0:-1]
        assert "not paid" in page
        assert foreign not in page
        assert numbers[0] in get(shopper, "/orders/?page=2")

    def test_few_queries(
        self, shopper: Client, customer: User, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        """Session, user, cart, count, orders, lines, payments: however many orders there are."""
        product = make_product(stock=100)
        for _ in range(20):
            make_order(customer, product)
        with django_assert_max_num_queries(7):
            get(shopper, "/orders/")

    def test_other_peoples_orders_are_not_found(self, shopper: Client) -> None:
        """Neither to look at nor to act on."""
        order = make_order()
        get(shopper, f"/orders/{order.pk}/", 404)
        for action in ("cancel", "address", "pay"):
            post(shopper, f"/orders/{order.pk}/{action}/", {"card": "tok_visa", **ADDRESS}, 404)
        order.refresh_from_db()
        assert order.status == Order.Status.PENDING

    def test_cancel_unpaid(self, shopper: Client, customer: User) -> None:
        """The stock comes back; a second time there is nothing to cancel."""
        product = make_product(stock=5)
        order = make_order(customer, product, 2)
        page = post(shopper, f"/orders/{order.pk}/cancel/")
        assert "is cancelled." in page
        assert "Cancel this order" not in page
        assert on_hand(product) == 5
        assert "can no longer be cancelled" in post(shopper, f"/orders/{order.pk}/cancel/")
        assert on_hand(product) == 5

    def test_cancel_paid(self, shopper: Client, customer: User, provider: ProviderServer) -> None:
        """The money goes back at once."""
        order = make_order(customer)
        post(shopper, f"/orders/{order.pk}/pay/", {"card": "tok_visa"})
        assert "Your money has been paid back." in post(shopper, f"/orders/{order.pk}/cancel/")
        assert len(provider.ledger.rows("refund")) == 1

    def test_change_the_address(self, shopper: Client, customer: User) -> None:
        """Until the parcel has left."""
        order = make_order(customer)
        moved = {f"to-{name}": value for name, value in {**ADDRESS, "city": "Bath"}.items()}
        assert "goes to the new address" in post(shopper, f"/orders/{order.pk}/address/", moved)
        order.refresh_from_db()
        assert order.ship_city == "Bath"
        page = post(shopper, f"/orders/{order.pk}/address/", {**moved, "to-street": ""}, 422)
        assert "This field is required" in page
        Order.objects.filter(pk=order.pk).update(status=Order.Status.SHIPPED)
        assert "can no longer be changed" in post(shopper, f"/orders/{order.pk}/address/", moved)
        assert "Change the address" not in get(shopper, f"/orders/{order.pk}/")

    def test_a_country_the_shop_does_not_list_is_kept(self, shopper: Client, customer: User) -> None:
        """Correcting the street must not move the parcel to another country."""
        order = make_order(customer)
        Order.objects.filter(pk=order.pk).update(ship_country="IS")
        assert '<option value="IS" selected>' in get(shopper, f"/orders/{order.pk}/")
        form = {f"to-{name}": value for name, value in {**ADDRESS, "country": "IS"}.items()}
        post(shopper, f"/orders/{order.pk}/address/", form)
        order.refresh_from_db()
        assert order.ship_country == "IS"
