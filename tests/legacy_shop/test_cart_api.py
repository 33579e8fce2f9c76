"""Filling and emptying a cart."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from legacy_shop.cart.models import Cart, CartLine
from legacy_shop.cart.services import cart_of, set_quantity
from tests.legacy_shop.samples import at_once, client_of, make_customer, make_product


@pytest.fixture
def customer() -> User:
    return make_customer()


def put(client: APIClient, product_id: int, quantity: Any) -> Any:
    return client.put(f"/api/cart/lines/{product_id}/", {"quantity": quantity}, format="json")


@pytest.mark.django_db
def test_a_cart_shows_what_is_in_it_at_todays_prices(customer: User) -> None:
    client, first, second = client_of(customer), make_product("12.50"), make_product("0.99")
    assert client.get("/api/cart/").json() == {"lines": [], "total": "0.00"}

    put(client, first.pk, 2)
    response = put(client, second.pk, 3)

    assert response.status_code == 200
    assert response.json()["total"] == "27.97"
    assert response.json()["lines"][0] == {
        "product": first.pk,
        "sku": first.sku,
        "name": first.name,
        "quantity": 2,
        "unit_price": "12.50",
        "amount": "25.00",
    }
    assert client.get("/api/cart/").json() == response.json()


@pytest.mark.django_db
def test_quantities_are_set_and_lines_taken_out(customer: User) -> None:
    client, first, second = client_of(customer), make_product(), make_product()
    for product in (first, second):
        put(client, product.pk, 2)

    assert [line["quantity"] for line in put(client, first.pk, 5).json()["lines"]] == [5, 2]
    assert [line["product"] for line in put(client, first.pk, 0).json()["lines"]] == [second.pk]
    assert client.delete(f"/api/cart/lines/{second.pk}/").json() == {"lines": [], "total": "0.00"}
    assert client.delete(f"/api/cart/lines/{second.pk}/").status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("quantity", [-1, 1000, "many", None])
def test_a_wrong_quantity_changes_nothing(customer: User, quantity: Any) -> None:
    response = put(client_of(customer), make_product().pk, quantity)
    assert (response.status_code, list(response.json())) == (400, ["quantity"])
    assert not CartLine.objects.exists()


@pytest.mark.django_db
def test_what_is_not_sold_does_not_go_into_a_cart(customer: User) -> None:
    for product_id in (make_product(is_active=False).pk, 10**30):
        assert put(client_of(customer), product_id, 1).status_code == 404


@pytest.mark.django_db
def test_a_cart_is_ones_own_and_needs_a_login(customer: User) -> None:
    set_quantity(customer, make_product().pk, 1)
    assert client_of(make_customer()).get("/api/cart/").json()["lines"] == []
    assert APIClient().get("/api/cart/").status_code == 401


@pytest.mark.django_db(transaction=True)
def test_the_first_clicks_of_an_impatient_customer_make_one_cart_and_one_line(customer: User) -> None:
    product = make_product()
    results = at_once([lambda: set_quantity(customer, product.pk, 4)] * 6)
    assert results == [None] * 6
    assert Cart.objects.get() == cart_of(customer)
    assert CartLine.objects.get().quantity == 4
