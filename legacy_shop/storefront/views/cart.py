"""Fill and empty the cart."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from legacy_shop.cart.services import HIGHEST_QUANTITY, UnknownCartProduct, lines_of, set_quantity
from legacy_shop.catalog.models import Product
from legacy_shop.storefront.baskets import basket_of
from legacy_shop.storefront.forms import CartLineForm, QuantityForm
from legacy_shop.storefront.visitors import customer_of


@login_required
def cart_detail(request: HttpRequest) -> HttpResponse:
    """Show what lies in the cart and what it costs."""
    return render(request, "storefront/cart.html", {"basket": basket_of(customer_of(request))})


@login_required
def add_line(request: HttpRequest, product_id: int) -> HttpResponse:
    """Put more of a product into the cart."""
    product = get_object_or_404(Product, pk=product_id, is_active=True)
    if request.method != "POST":  # back from the login page, which can only lead to a GET
        return redirect("storefront:product", product.slug)
    form = QuantityForm(request.POST)
    if not form.is_valid():
        messages.error(request, f"How many? A number from 1 to {HIGHEST_QUANTITY}.")
        return redirect("storefront:product", product.slug)
    line = lines_of(customer_of(request)).filter(product=product).first()
    quantity = form.cleaned_data["quantity"] + (line.quantity if line else 0)
    set_quantity(customer_of(request), product.pk, quantity)
    messages.success(request, f"{product.name} is in your cart.")
    return redirect("storefront:cart")


@login_required
def change_line(request: HttpRequest, product_id: int) -> HttpResponse:
    """Set how many of a product lie in the cart; 0 takes it out."""
    if request.method != "POST":
        return redirect("storefront:cart")
    form = CartLineForm(request.POST)
    if not form.is_valid():
        messages.error(request, f"How many? A number from 0 to {HIGHEST_QUANTITY}; 0 takes it out.")
    else:
        _set(request, product_id, form.cleaned_data["quantity"])
    return redirect("storefront:cart")


def _set(request: HttpRequest, product_id: int, quantity: int) -> None:
    try:
        set_quantity(customer_of(request), product_id, quantity)
    except UnknownCartProduct:
        messages.error(request, "That product is no longer sold.")
    else:
        messages.success(request, "Your cart is up to date.")
