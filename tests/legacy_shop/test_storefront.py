"""The pages a person looks around with: catalogue, account, cart, and the frame around them."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, Settings

from legacy_shop.cart.models import CartLine
from legacy_shop.catalog.models import Category, Product, Stock
from legacy_shop.orders.models import Order
from legacy_shop.storefront.covers import cover_svg
from tests.legacy_shop.browsing import fill, get, post
from tests.legacy_shop.samples import ADDRESS, make_customer, make_order, make_product

pytestmark = pytest.mark.django_db


class TestCatalogue:
    def test_an_empty_shop(self, client: Client) -> None:
        """Every list has something to say when there is nothing in it."""
        assert "The shelves are empty" in get(client, "/")
        assert "Nothing found" in get(client, "/products/")

    def test_the_front_page_leads_on(self, client: Client) -> None:
        """Shelves and products are linked; what is sold out is not put forward."""
        there, gone = make_product(), make_product(stock=0)
        page = get(client, "/")
        assert f"/category/{there.category.slug}/" in page
        assert there.name in page
        assert gone.name not in page

    def test_pages(self, client: Client) -> None:
        """Twenty-four a page; a page that does not exist shows the nearest, and a search stays on."""
        for number in range(30):
            make_product(name=f"Tea {number:02d}")
        make_product(name="Zither")
        first, second = get(client, "/products/?q=tea"), get(client, "/products/?q=tea&page=2")
        assert "30 products" in first
        assert first.count('class="card"') == 24
        assert second.count('class="card"') == 6
        assert "?q=tea&page=2" in first
        assert get(client, "/products/?q=tea&page=99").count('class="card"') == 6
        assert get(client, "/products/?q=tea&page=x").count('class="card"') == 24

    @pytest.mark.parametrize("words", ["blue KETTLE", "kettle blue", "kit", "SKU-KETTLE"])
    def test_search(self, client: Client, words: str) -> None:
        """All words have to be found, anywhere in the name, or the number as a whole."""
        kettle = make_product(name="Blue kettle kit")
        Product.objects.filter(pk=kettle.pk).update(sku="SKU-KETTLE")
        make_product(name="Blue sofa")
        assert "1 product" in get(client, f"/products/?q={words}")

    def test_search_finds_nothing(self, client: Client) -> None:
        """And shows the words again, harmless."""
        page = client.get("/products/?q=<script>").content.decode()
        assert "No product matches" in page
        assert "<script>" not in page

    @pytest.mark.parametrize(("sort", "names"), [("cheap", ["B", "A"]), ("dear", ["A", "B"]), ("bogus", ["A", "B"])])
    def test_sorting(self, client: Client, sort: str, names: list[str]) -> None:
        """By price both ways; nonsense sorts by name."""
        make_product("20.00", name="A")
        make_product("10.00", name="B")
        shown = re.findall(r'card-name">(\w)<', get(client, f"/products/?sort={sort}"))
        assert shown == names

    def test_a_shelf_shows_its_own(self, client: Client) -> None:
        """And one that does not exist is not found."""
        book = make_product()
        kite = make_product(category="kites")
        page = get(client, "/category/kites/")
        assert kite.name in page
        assert book.name not in page
        get(client, "/category/none/", 404)

    def test_products_not_on_sale_are_gone(self, client: Client) -> None:
        """From lists, search and their own page."""
        hidden = make_product(is_active=False)
        assert hidden.name not in get(client, "/products/")
        get(client, f"/products/{hidden.slug}/", 404)

    def test_a_product_page(self, client: Client) -> None:
        """Visitors are asked to log in first and come back here."""
        product = make_product("1234.50", stock=3)
        page = get(client, f"/products/{product.slug}/")
        assert "$1,234.50" in page
        assert "3 left" in page
        assert f"/login/?next=/products/{product.slug}/" in page

    def test_sold_out(self, shopper: Client) -> None:
        """There is no way to put it into the cart, also if it has no stock row at all."""
        product = make_product(stock=0)
        for _ in range(2):
            page = get(shopper, f"/products/{product.slug}/")
            assert "sold out" in page
            assert "/cart/add/" not in page
            Stock.objects.all().delete()

    def test_few_queries(self, client: Client, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
        """A long page costs as many as a short one."""
        for _ in range(24):
            make_product()
        with django_assert_max_num_queries(4):
            get(client, "/products/")


class TestAccount:
    def test_register(self, client: Client) -> None:
        """A new customer is logged in, has a profile, and goes on where they were."""
        form = {"username": "grace", "email": "g@example.com", "password1": "hopper-1906", "password2": "hopper-1906"}
        response = client.post("/register/", {**form, "next": "/cart/"})
        assert response.headers["Location"] == "/cart/"
        assert "Welcome, grace!" in get(client, "/cart/")
        assert User.objects.get(username="grace").profile.loyalty_points == 0

    def test_a_foreign_next_is_not_followed(self, client: Client) -> None:
        """Registration must not send people to another site."""
        form = {"username": "grace", "email": "g@example.com", "password1": "hopper-1906", "password2": "hopper-1906"}
        response = client.post("/register/", {**form, "next": "https://evil.example/"})
        assert response.headers["Location"] == "/"

    def test_registration_errors(self, client: Client) -> None:
        """Each field says what is wrong with it."""
        make_customer()
        taken = User.objects.get().username
        form = {"username": taken, "email": "nothing", "password1": "short", "password2": "other"}
        page = post(client, "/register/", form, 422)
        assert "already exists" in page
        assert "valid email" in page
        assert User.objects.count() == 1

    def test_log_in_and_out(self, client: Client, customer: User) -> None:
        """With the password only; logging out is a POST."""
        form = {"username": customer.username, "password": "wrong"}
        assert "correct username and password" in post(client, "/login/", form)
        post(client, "/login/", {**form, "password": "secret-word"})
        assert "Log out" in get(client, "/")
        assert client.get("/logout/").status_code == 405
        assert "Log in" in post(client, "/logout/")

    @pytest.mark.parametrize("path", ["/cart/", "/checkout/", "/orders/", "/orders/1/", "/account/"])
    def test_what_is_personal_asks_for_a_login(self, client: Client, path: str) -> None:
        """And comes back after it."""
        assert client.get(path).headers["Location"] == f"/login/?next={path}"

    def test_forms_need_their_token(self, customer: User) -> None:
        """Another site cannot fill somebody's cart."""
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(customer)
        response = strict.post(f"/cart/add/{make_product().pk}/", {"quantity": 1})
        assert response.status_code == 403
        assert "Not allowed" in response.content.decode()
        assert not CartLine.objects.exists()

    def test_address_book(self, shopper: Client, customer: User) -> None:
        """The first entry becomes the default; an incomplete one is shown again."""
        assert "No address yet" in get(shopper, "/account/")
        assert "required" in post(shopper, "/account/", {**ADDRESS, "city": ""}, 422)
        assert "in your book" in post(shopper, "/account/", ADDRESS)
        post(shopper, "/account/", {**ADDRESS, "city": "Bath"})
        assert list(customer.addresses.order_by("pk").values_list("city", "is_default")) == [
            ("London", True),
            ("Bath", False),
        ]


class TestCart:
    def test_an_empty_cart(self, shopper: Client) -> None:
        """It invites, and nothing can be checked out."""
        assert "Nothing in it yet" in get(shopper, "/cart/")
        response = shopper.get("/checkout/", follow=True)
        assert "Your cart is empty" in response.content.decode()

    def test_fill_change_and_empty(self, shopper: Client) -> None:
        """Adding twice adds up; 0 takes out."""
        product = make_product("2.50", stock=100)
        fill(shopper, product, 2)
        fill(shopper, product, 3)
        page = get(shopper, "/cart/")
        assert "$12.50" in page
        assert 'value="5"' in page
        assert "$10.00" in post(shopper, f"/cart/lines/{product.pk}/", {"quantity": 4})
        assert "Nothing in it yet" in post(shopper, f"/cart/lines/{product.pk}/", {"quantity": 0})

    @pytest.mark.parametrize("quantity", ["", "0", "-1", "1000", "1.5", "x"])
    def test_nonsense_is_not_added(self, shopper: Client, quantity: str) -> None:
        """The page says what is allowed."""
        product = make_product()
        assert "How many?" in post(shopper, f"/cart/add/{product.pk}/", {"quantity": quantity})
        assert not CartLine.objects.exists()

    def test_problems_are_shown_at_the_line(self, shopper: Client) -> None:
        """Before the customer meets them at the checkout."""
        few, gone, hidden = make_product(stock=2), make_product(stock=5), make_product()
        for product in (few, gone, hidden):
            fill(shopper, product, 3)
        Stock.objects.filter(product=gone).update(on_hand=0)
        Product.objects.filter(pk=hidden.pk).update(is_active=False)
        page = get(shopper, "/cart/")
        assert "Only 2 left." in page
        assert "Sold out at the moment." in page
        assert "No longer sold." in page
        assert "no longer sold" in post(shopper, f"/cart/lines/{hidden.pk}/", {"quantity": 1})

    def test_links_to_actions_lead_back(self, shopper: Client) -> None:
        """A login in between turns a POST into a GET, which must not be an error page."""
        product, order = make_product(), make_order(User.objects.get())
        assert shopper.get(f"/cart/add/{product.pk}/").headers["Location"] == f"/products/{product.slug}/"
        assert shopper.get(f"/cart/lines/{product.pk}/").headers["Location"] == "/cart/"
        for action in ("cancel", "address", "pay"):
            assert shopper.get(f"/orders/{order.pk}/{action}/").headers["Location"] == f"/orders/{order.pk}/"
        order.refresh_from_db()
        assert order.status == Order.Status.PENDING


class TestFrame:
    def test_static_files_without_debug(self, client: Client, settings: Settings) -> None:
        """The demo runs with DEBUG off and has no web server in front."""
        assert settings.DEBUG is False
        response = client.get("/static/storefront/shop.css")
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/css")
        assert b"--brand" in b"".join(response.streaming_content)  # type: ignore[attr-defined]
        of_admin = client.get("/static/admin/css/base.css")
        assert of_admin.status_code == 200
        of_admin.close()
        assert client.get("/static/../settings.py").status_code == 400

    def test_nothing_is_loaded_from_elsewhere(self, client: Client) -> None:
        """No script, no font, no picture of another site."""
        make_product()
        for path in ("/", "/products/", "/login/", "/register/"):
            page = get(client, path)
            assert "<script" not in page
            assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', page)

    def test_not_found(self, client: Client) -> None:
        """The page says so and leads back."""
        assert "To the shop" in get(client, "/nowhere/", 404)

    def test_staff_see_the_way_to_the_back_office(self, client: Client, customer: User) -> None:
        """Others do not."""
        client.force_login(customer)
        assert reverse("admin:index") not in get(client, "/")
        client.force_login(make_customer(is_staff=True))
        assert reverse("admin:index") in get(client, "/")

    def test_every_control_has_a_label(self, shopper: Client, customer: User) -> None:
        """Screen readers have to be able to name each field."""
        product = make_product()
        order = make_order(customer, product)
        fill(shopper, product)
        for path in (
            *("/", "/products/", f"/products/{product.slug}/", "/cart/", "/checkout/", "/account/"),
            f"/orders/{order.pk}/",
        ):
            page = get(shopper, path)
            fields = re.findall(r'<(?:input|select|textarea)(?![^>]*type="hidden")[^>]*>', page)
            labelled = set(re.findall(r'<label[^>]* for="([^"]+)"', page))
            ids = [re.search(r' id="([^"]+)"', field) for field in fields]
            assert all(ids), (path, fields)
            assert {found.group(1) for found in ids if found} <= labelled, path


def test_covers_differ_and_stay() -> None:
    """The same product always has the same picture."""
    assert cover_svg("A") == cover_svg("A")
    assert len({cover_svg(str(number)) for number in range(50)}) == 50


def test_shelves_without_products_are_not_offered(client: Client) -> None:
    """A link to an empty list helps nobody."""
    Category.objects.create(name="Bare", slug="bare")
    make_product()
    assert "Bare" not in get(client, "/")
