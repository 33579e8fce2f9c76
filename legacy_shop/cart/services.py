"""Keep what customers mean to buy."""

from collections.abc import Iterable

from django.contrib.auth.models import User
from django.db.models import QuerySet

from legacy_shop.cart.models import Cart, CartLine
from legacy_shop.catalog.models import Product
from legacy_shop.errors import Missing

HIGHEST_QUANTITY = 999
"""The most pieces of one product that a line may hold."""


class UnknownCartProduct(Missing):
    """No Product matches the given query."""


def cart_of(customer: User) -> Cart:
    """Return the customer's cart, which comes into being when it is first looked at."""
    return Cart.objects.get_or_create(user=customer)[0]


def lines_of(customer: User) -> QuerySet[CartLine]:
    """Return the lines of the customer's cart with their products, first added first."""
    return CartLine.objects.filter(cart__user=customer).select_related("product").order_by("pk")


def locked_lines_of(customer: User) -> list[CartLine]:
    """Return the lines to order, with the cart locked so that a second checkout waits and finds it empty."""
    list(Cart.objects.select_for_update().filter(user=customer))
    return list(lines_of(customer))


def set_quantity(customer: User, product_id: int, quantity: int) -> None:
    """Put so many pieces of a product into the cart; none takes it out. Raise UnknownCartProduct."""
    if quantity <= 0:
        CartLine.objects.filter(cart__user=customer, product_id=product_id).delete()
        return
    product = Product.objects.filter(pk=product_id, is_active=True).first()
    if product is None:
        raise UnknownCartProduct
    cart = cart_of(customer)
    CartLine.objects.update_or_create(
        cart=cart, product=product, defaults={"quantity": min(quantity, HIGHEST_QUANTITY)}
    )
    cart.save(update_fields=["updated_at"])


def empty(customer: User) -> None:
    """Take everything out of the customer's cart."""
    CartLine.objects.filter(cart__user=customer).delete()


def put_back(customer_id: int, lines: Iterable[tuple[int, int]]) -> None:
    """Return products and quantities to the cart that they were taken out of; what is in it by now stays."""
    cart = Cart.objects.select_for_update().get(user=customer_id)
    there = dict(cart.lines.values_list("product_id", "quantity"))
    for product_id, quantity in lines:
        CartLine.objects.update_or_create(
            cart=cart,
            product_id=product_id,
            defaults={"quantity": min(there.get(product_id, 0) + quantity, HIGHEST_QUANTITY)},
        )
