"""Set the scene: goods, customers in buckets all over, and the plan at ``separate.shadow``; print who they are.

``python -m tests.acceptance.chaos.stage 24``
"""

import json
import sys
from decimal import Decimal
from typing import Any

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402 (models need the apps)
from rest_framework.authtoken.models import Token  # noqa: E402

from legacy_shop.accounts.models import Address  # noqa: E402
from legacy_shop.catalog.models import Category, Product, Stock  # noqa: E402
from migrations_plan.testing import stand_at  # noqa: E402
from router.buckets import BUCKETS, bucket  # noqa: E402

PRODUCTS = 4
DELIVERED = 100_000
STEP = "separate.shadow"


def main(wanted: int) -> None:
    """Fill an empty shop."""
    category = Category.objects.create(name="Records", slug="records")
    products = [_product(category, number) for number in range(PRODUCTS)]
    people = _customers(wanted)
    stand_at("orders", STEP)
    json.dump(
        {"delivered": {one.pk: DELIVERED for one in products}, "customers": [_told(one) for one in people]}, sys.stdout
    )


def _product(category: Category, number: int) -> Product:
    made = Product.objects.create(
        category=category,
        sku=f"R{number}",
        slug=f"r{number}",
        name=f"Record {number}",
        price=Decimal("9.99") + number,
    )
    Stock.objects.create(product=made, on_hand=DELIVERED)
    return made


def _customers(wanted: int) -> list[User]:
    """Make customers until the buckets are covered evenly: of a dozen in a row each, one bucket of each stretch."""
    stretches: dict[int, User] = {}
    number = 0
    while len(stretches) < wanted:
        number += 1
        user = User.objects.create(username=f"chaos{number}", email=f"chaos{number}@example.com", password="!")
        stretches.setdefault(bucket("orders", user.pk) * wanted // BUCKETS, user)
    for user in stretches.values():
        Address.objects.create(user=user, name="A", street="B 1", city="C", postcode="1", is_default=True)
    return [stretches[one] for one in sorted(stretches)]


def _told(user: User) -> dict[str, Any]:
    token = Token.objects.create(user=user).key
    return {"id": user.pk, "token": token, "bucket": bucket("orders", user.pk)}


if __name__ == "__main__":
    main(int(sys.argv[1]))
