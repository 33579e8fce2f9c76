"""Small shops for the tests of the orders service, built with the monolith's own models."""

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User

from legacy_shop.accounts.models import Address
from legacy_shop.cart.models import Cart, CartLine
from legacy_shop.catalog.models import Category, Product, Stock
from legacy_shop.orders.models import Order, OrderLine
from legacy_shop.payments.models import PaymentAttempt
from router.idempotency.models import IdempotencyKey
from router.identity import Identity

NOON = datetime(2026, 1, 2, 12, 0, 0, 123456, tzinfo=UTC)
HOME = {"name": "Ann Lee", "street": "Löwenstraße 1", "city": "Zürich", "postcode": "8001", "country": "CH"}
ATTEMPTS: tuple[tuple[tuple[str, str], ...], ...] = (
    (),
    (("charge", "succeeded"),),
    (("charge", "failed"), ("charge", "open")),
    (("charge", "failed"), ("charge", "failed")),
    (("charge", "succeeded"), ("refund", "open")),
    (("charge", "succeeded"), ("refund", "failed"), ("refund", "succeeded")),
)
"""Every history of payment attempts that an order can have."""
_serial = itertools.count(1)


def make_customer(**fields: Any) -> User:
    """Create a user."""
    return User.objects.create_user(username=f"customer{next(_serial)}", password="secret-enough", **fields)


def identity(user: User) -> Identity:
    """Return the identity with which the router would vouch for ``user``."""
    return Identity(subject=str(user.pk), kind="token", staff=user.is_staff, superuser=user.is_superuser)


def make_product(price: str = "12.50", on_hand: int = 10, **fields: Any) -> Product:
    """Create a product with stock."""
    category, _ = Category.objects.get_or_create(slug="things", defaults={"name": "Things"})
    number = next(_serial)
    given = {"sku": f"SKU-{number}", "slug": f"thing-{number}", "name": f"Thing {number}", **fields}
    product = Product.objects.create(category=category, price=Decimal(price), **given)
    Stock.objects.create(product=product, on_hand=on_hand)
    return product


def make_address(user: User, **fields: Any) -> Address:
    """Create an entry in the user's address book."""
    return Address.objects.create(user=user, **{**HOME, **fields})


def fill_cart(user: User, *lines: tuple[Product, int]) -> Cart:
    """Put products into the user's cart."""
    cart, _ = Cart.objects.get_or_create(user=user)
    CartLine.objects.bulk_create(CartLine(cart=cart, product=product, quantity=n) for product, n in lines)
    return cart


def make_order(
    user: User, *lines: tuple[Product, int], status: str = "PENDING", minutes: int = 0, **fields: Any
) -> Order:
    """Create an order; its stock is not taken."""
    total = sum((product.price * n for product, n in lines), start=Decimal(0))
    order = Order.objects.create(
        **{
            "number": f"N{next(_serial):08}",
            "customer": user,
            "status": Order.Status[status],
            **{f"ship_{name}": value for name, value in HOME.items()},
            "total": total,
            "placed_at": NOON + timedelta(minutes=minutes),
            **fields,
        }
    )
    OrderLine.objects.bulk_create(
        OrderLine(
            order=order,
            product=product,
            sku=product.sku,
            name=product.name,
            quantity=n,
            unit_price=product.price,
            amount=product.price * n,
        )
        for product, n in lines
    )
    return order


def make_attempt(order: Order, kind: str = "charge", state: str = "succeeded", **fields: Any) -> PaymentAttempt:
    """Create a payment attempt."""
    given: dict[str, Any] = {"amount": order.total, "card": "tok_visa", "created_at": NOON, **fields}
    if (kind, state) == ("charge", "succeeded"):
        given.setdefault("told_at", NOON)
    return PaymentAttempt.objects.create(order=order, kind=kind, state=state, **given)


def settle(provider_key: str, state: str = "succeeded") -> dict[str, Any]:
    """Settle an attempt as the monolith does once the provider has answered; return what it answers the service."""
    attempt = PaymentAttempt.objects.get(provider_key=UUID(provider_key))
    PaymentAttempt.objects.filter(pk=attempt.pk, state="open").update(state=state, settled_at=NOON)
    return {"kind": attempt.kind, "state": state, "settled_at": NOON.isoformat()}


def on_hand(product: Product) -> int:
    """Return how many pieces of the product are on the shelf."""
    return Stock.objects.get(product=product).on_hand


def fingerprint() -> list[tuple[Any, ...]]:
    """Return all that the orders API can read or change, to find out whether anything did."""
    rows = (Order, OrderLine, PaymentAttempt, Stock, CartLine, IdempotencyKey)
    return [row for model in rows for row in model.objects.order_by("pk").values_list()]


def clear() -> None:
    """Delete everything that these helpers have made, where no test database flush does."""
    for model in (PaymentAttempt, Order, Cart, Stock, Product, Category, User):
        model.objects.all().delete()
