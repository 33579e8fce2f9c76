"""The shop, as the core tests see it."""

import json
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from legacy_shop.catalog.models import Category, Product, Stock
from legacy_shop.orders.models import Order
from tests.core.port import Project


class Shop(Project):
    """Integer users, one database, REST framework."""

    service = "orders"
    path = "/api/orders/"
    token_path = "/api/auth/csrf/"
    outside = "/api/products/"
    key_column = ("auth_user", "id", "integer")

    def person(self, name: str, *, staff: bool = False, superuser: bool = False) -> Any:
        """Make a customer."""
        return User.objects.create_user(name, password="x", is_staff=staff, is_superuser=superuser)

    def prepare(self) -> None:
        """Put a record on the shelf."""
        category = Category.objects.create(name="Records", slug="records")
        product = Product.objects.create(category=category, sku="R", slug="r", name="Record", price=Decimal("9.99"))
        Stock.objects.create(product=product, on_hand=50)

    def write(self, client: Client, **headers: str) -> Any:
        """Order it."""
        address = {"name": "A", "street": "B 1", "city": "C", "postcode": "1", "country": "US"}
        product = Product.objects.values_list("pk", flat=True).first()
        body = json.dumps({"lines": [{"product": product, "quantity": 1}], "address": address})
        return client.post(self.path, body, content_type="application/json", headers=headers)

    def written(self) -> int:
        """Count the orders."""
        return Order.objects.count()
