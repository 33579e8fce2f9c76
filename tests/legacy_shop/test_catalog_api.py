"""The catalogue, which everybody may read."""

import pytest
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from legacy_shop.catalog.models import Stock
from tests.legacy_shop.samples import make_product

pytestmark = pytest.mark.django_db


def test_a_product_is_shown_to_everybody() -> None:
    product = make_product("12.00", 7)

    document = APIClient().get(f"/api/products/{product.pk}/").json()

    assert document == {
        "id": product.pk,
        "sku": product.sku,
        "name": product.name,
        "price": "12.00",
        "category": "books",
        "available": 7,
    }
    assert list(document) == ["id", "sku", "name", "price", "category", "available"]
    assert APIClient().get("/api/products/").json()["results"] == [document]


def test_what_is_not_sold_is_not_shown() -> None:
    retired = make_product(is_active=False)
    response = APIClient().get(f"/api/products/{retired.pk}/")
    assert (response.status_code, response.json()) == (404, {"detail": "No Product matches the given query."})
    assert APIClient().get("/api/products/").json()["results"] == []


def test_the_catalogue_comes_by_name_in_pages(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    for number in range(22):
        make_product(name=f"Title {99 - number:02}")
    with django_assert_num_queries(2):
        first = APIClient().get("/api/products/").json()
    second = APIClient().get("/api/products/?page=2").json()

    assert (first["count"], first["page"], first["pages"], len(first["results"])) == (22, 1, 2, 20)
    names = [product["name"] for product in first["results"] + second["results"]]
    assert names == sorted(names)
    assert APIClient().get("/api/products/?page=3").json() == {"detail": "Invalid page."}


def test_a_category_narrows_the_list() -> None:
    make_product()
    game = make_product(category="games")
    assert [p["id"] for p in APIClient().get("/api/products/?category=games").json()["results"]] == [game.pk]
    assert APIClient().get("/api/products/?category=none").json()["count"] == 0


def test_without_a_place_on_the_shelf_none_is_available() -> None:
    product = make_product()
    Stock.objects.all().delete()
    assert APIClient().get(f"/api/products/{product.pk}/").json()["available"] == 0
