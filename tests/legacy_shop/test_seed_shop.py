"""The invented shop: always the same, skewed like a real one, made once or not at all."""

from collections import Counter
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.forms.models import model_to_dict
from rest_framework.authtoken.models import Token

from legacy_shop.accounts.models import Address, Profile
from legacy_shop.backoffice import seed_plan, seeding
from legacy_shop.backoffice.seed_plan import Size
from legacy_shop.cart.models import Cart, CartLine
from legacy_shop.catalog.models import Category, Product, Stock
from legacy_shop.orders.models import Order, OrderLine
from legacy_shop.payments.models import PaymentAttempt

TABLES = (Category, Product, Stock, User, Profile, Address, Token, Cart, CartLine, Order, OrderLine)
BIG = Size(products=200, customers=300, orders=2_000, seed=7)
SMALL = {"products": 30, "customers": 20, "orders": 40, "seed": 7}


def seed(**changes: int) -> str:
    """Run the command for a small shop and return what it said."""
    out = StringIO()
    call_command("seed_shop", **{**SMALL, **changes}, stdout=out)
    return out.getvalue()


def everything() -> dict[str, list[dict[str, Any]]]:
    """Return all rows of the shop."""
    return {model.__name__: [model_to_dict(row) for row in model.objects.order_by("pk")] for model in TABLES}


class TestPlan:
    def test_the_same_numbers_make_the_same_shop(self) -> None:
        """Nothing depends on the clock, the process or the order of calls."""
        assert seed_plan.orders(BIG) == seed_plan.orders(BIG)
        assert seed_plan.customers(BIG) == seed_plan.customers(BIG)
        assert seed_plan.products(BIG) == seed_plan.products(BIG)

    def test_another_seed_makes_another_shop(self) -> None:
        """Or the seed would be decoration."""
        other = Size(products=200, customers=300, orders=2_000, seed=8)
        assert seed_plan.orders(BIG) != seed_plan.orders(other)
        assert seed_plan.customers(BIG) != seed_plan.customers(other)
        assert seed_plan.products(BIG) != seed_plan.products(other)

    def test_more_customers_leave_the_products_as_they_are(self) -> None:
        """Each part has dice of its own."""
        larger = Size(products=200, customers=900, orders=2_000, seed=7)
        assert seed_plan.products(larger) == seed_plan.products(BIG)
        assert [row.first_name for row in seed_plan.customers(larger)[:300]] == [
            row.first_name for row in seed_plan.customers(BIG)
        ]

    def test_few_products_sell_most(self) -> None:
        """The tenth of the products that sells best makes a good part of the sales, and many hardly sell."""
        sold = Counter(index for order in seed_plan.orders(BIG) for index, _ in order.lines)
        best = sum(count for _, count in sold.most_common(20))
        assert 0.45 < best / sum(sold.values()) < 0.75
        assert sold.most_common(1)[0][1] > 20 * sorted(sold.values())[len(sold) // 2]

    def test_few_customers_buy_much(self) -> None:
        """A tenth of them places a third of the orders."""
        bought = Counter(order.customer for order in seed_plan.orders(BIG))
        best = sum(count for _, count in bought.most_common(30))
        assert 0.3 < best / BIG.orders < 0.6

    def test_most_is_ample_and_a_few_are_sold_out(self) -> None:
        """A demo must not run dry, and has to have something sold out."""
        stock = Counter(product.on_hand for product in seed_plan.products(BIG))
        assert set(stock) == {0, 100_000}
        assert 1 <= stock[0] <= 12

    def test_orders_are_in_the_past_and_in_order(self) -> None:
        """Numbers rise with time."""
        orders = seed_plan.orders(BIG)
        assert [order.placed_at for order in orders] == sorted(order.placed_at for order in orders)
        assert [order.number for order in orders] == sorted(order.number for order in orders)
        assert {order.outcome for order in orders} == set(seed_plan.OUTCOMES)

    def test_prices_are_whole_half_dollars(self) -> None:
        """Readable, and exact in every database."""
        assert all(product.price >= 1 and product.price * 2 % 1 == 0 for product in seed_plan.products(BIG))


@pytest.mark.django_db
class TestCommand:
    def test_it_makes_what_it_says(self) -> None:
        """Every count on the screen is a count in the database."""
        out = seed()
        carts = Cart.objects.count()
        assert f"Made 30 products, 20 customers ({carts} with a cart) and 40 orders." in out
        assert "admin, password admin-demo" in out
        assert (Product.objects.count(), Stock.objects.count()) == (30, 30)
        assert User.objects.filter(is_staff=False).count() == 20
        assert Address.objects.count() == Token.objects.count() == 20
        assert Profile.objects.count() == 21
        assert Order.objects.count() == 40
        assert carts
        assert not PaymentAttempt.objects.exists()

    def test_totals_are_the_sums_of_their_lines(self) -> None:
        """Bulk inserts must not skip the arithmetic."""
        seed()
        for order in Order.objects.prefetch_related("lines"):
            lines = order.lines.all()
            assert lines
            assert order.total == sum(line.amount for line in lines)
            assert all(line.amount == line.unit_price * line.quantity for line in lines)

    def test_status_and_moments_agree(self) -> None:
        """Paid orders were paid, closed ones were closed, and nothing waits to expire."""
        seed(orders=300)
        for order in Order.objects.all():
            assert (order.paid_at is not None) == (order.status in {20, 30, 40})
            assert (order.closed_at is not None) == (order.status in {40, 90, 95})
            assert order.status not in {10, 20}

    def test_everybody_can_log_in(self) -> None:
        """The password was hashed once and holds for all."""
        seed()
        assert authenticate(username="customer00001", password="demo-password")
        assert authenticate(username="customer00020", password="demo-password")
        assert len(set(User.objects.filter(is_staff=False).values_list("password", flat=True))) == 1
        admin = authenticate(username="admin", password="admin-demo")
        assert admin is not None
        assert admin.is_superuser

    def test_twice_changes_nothing_and_says_so(self) -> None:
        """Not a hash, not a token, not a moment."""
        seed()
        before = everything()
        assert "nothing changed" in seed()
        assert everything() == before

    def test_tokens_are_the_same_in_a_new_database(self) -> None:
        """They depend on name, seed and secret key only."""
        seed()
        first = dict(Token.objects.values_list("user__username", "key"))
        for model in (Order, User, Product):
            model.objects.all().delete()
        seed()
        assert dict(Token.objects.values_list("user__username", "key")) == first
        assert len(set(first.values())) == 20

    def test_an_admin_that_is_there_is_left_alone(self) -> None:
        """Somebody may have given it a real password."""
        User.objects.create_superuser("admin", password="a real password")
        assert "administrator" not in seed()
        assert authenticate(username="admin", password="a real password")

    def test_customers_that_shopped_meanwhile_do_not_matter(self) -> None:
        """Orders, carts and users of other origin are none of its business."""
        seed()
        user = User.objects.create_user("somebody")
        order = Order.objects.get(number="S0000001")
        order.pk, order.number, order.customer = None, "260101-ABCDEF", user
        order.save()
        assert "nothing changed" in seed()

    @pytest.mark.parametrize("change", [{"orders": 41}, {"customers": 19}, {"products": 31}, {"seed": 8}], ids=str)
    def test_other_arguments_are_refused(self, change: dict[str, int]) -> None:
        """Mixing two invented shops would make neither; the refusal says what is there and what to do."""
        seed()
        before = everything()
        with pytest.raises(CommandError, match=r"30 products, 20 customers, 40 orders.*SHOP_DATABASE_URL"):
            seed(**change)
        assert everything() == before

    def test_another_seed_is_noticed_without_customers(self) -> None:
        """The products' names tell then."""
        seed(customers=0, orders=0)
        with pytest.raises(CommandError, match="not from seed 9"):
            seed(customers=0, orders=0, seed=9)
        assert "nothing changed" in seed(customers=0, orders=0)

    def test_an_error_on_the_way_leaves_nothing(self) -> None:
        """Half a shop would be refused for ever after."""

        def stumble(count: int) -> None:
            if Order.objects.exists():
                raise RuntimeError("stumbled")

        with pytest.raises(RuntimeError, match="stumbled"):
            seeding.seed(Size(**SMALL), progress=stumble)
        assert all(not rows for rows in everything().values())

    def test_orders_need_something_and_somebody(self) -> None:
        """Said before anything is written."""
        with pytest.raises(CommandError, match="at least one product and one customer"):
            seed(customers=0)

    @pytest.mark.parametrize("value", ["-1", "1.5", "many"])
    def test_counts_are_whole_numbers(self, value: str) -> None:
        """Anything else is a wrong call."""
        with pytest.raises(CommandError, match="not a whole number"):
            call_command("seed_shop", f"--customers={value}")
