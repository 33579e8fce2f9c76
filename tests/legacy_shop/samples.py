"""Small shops for tests: customers, products, orders, and threads that do something at the same moment."""

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient

from legacy_shop.catalog.models import Category, Product, Stock
from legacy_shop.orders.models import Order
from legacy_shop.orders.services import LineRequest, ShipTo, place_order

_numbers = count(1)
ADDRESS = {"name": "Ada Byron", "street": "1 Engine Row", "city": "London", "postcode": "N1", "country": "GB"}
SHIP_TO = ShipTo(**ADDRESS)
GOOD, DECLINED = "tok_visa", "tok_declined"
JOIN_SECONDS = 30.0


def make_customer(**fields: Any) -> User:
    """Return a new customer with a mail address."""
    number = next(_numbers)
    return User.objects.create_user(f"customer{number}", f"customer{number}@example.com", "secret-word", **fields)


def make_product(price: str = "12.50", stock: int = 10, **fields: Any) -> Product:
    """Return a new product with so many pieces on hand."""
    number = next(_numbers)
    shelf, _ = Category.objects.get_or_create(slug=fields.pop("category", "books"), defaults={"name": "Books"})
    product = Product.objects.create(
        category=shelf,
        sku=f"SKU-{number}",
        slug=f"product-{number}",
        **{"name": f"Book {number}", **fields},
        price=Decimal(price),
    )
    Stock.objects.create(product=product, on_hand=stock)
    return product


def make_order(
    customer: User | None = None, product: Product | None = None, quantity: int = 1, card: str | None = None
) -> Order:
    """Return a new order; its charge, if any, has not been run."""
    return place_order(
        customer=customer or make_customer(),
        lines=[LineRequest((product or make_product()).pk, quantity)],
        ship_to=SHIP_TO,
        card=card,
    )


def age(order: Order, hours: float) -> None:
    """Make the order look as if it had been placed so many hours ago."""
    Order.objects.filter(pk=order.pk).update(placed_at=timezone.now() - timedelta(hours=hours))


def on_hand(product: Product) -> int:
    """Return how many pieces are on the shelf."""
    return Stock.objects.get(product=product).on_hand


def client_of(user: User) -> APIClient:
    """Return an API client with the user's token."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {Token.objects.get_or_create(user=user)[0].key}")
    return client


def at_once(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run the jobs at the same moment in threads and return what each returned or raised."""
    start = threading.Barrier(len(jobs))
    results: list[Any] = [None] * len(jobs)

    def run(index: int) -> None:
        try:
            start.wait(JOIN_SECONDS)
            results[index] = jobs[index]()
        except Exception as error:  # the test looks at it
            results[index] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(JOIN_SECONDS)
        assert not thread.is_alive(), "a job did not end in time"
    return results
