"""Turn the cart into an order."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from legacy_shop.accounts.models import Address
from legacy_shop.cart.services import locked_lines_of
from legacy_shop.orders.exceptions import OrderTooLarge, OutOfStock, UnknownProduct
from legacy_shop.orders.models import Order
from legacy_shop.orders.services import LineRequest, ShipTo, place_order
from legacy_shop.payments.services import run_due_attempts
from legacy_shop.storefront.baskets import basket_of, priced
from legacy_shop.storefront.forms import CheckoutForm
from legacy_shop.storefront.outcomes import tell_payment
from legacy_shop.storefront.visitors import customer_of


class CartChanged(Exception):
    """The cart is not what the customer saw: another tab, another price, or ordered already."""


@login_required
def checkout(request: HttpRequest) -> HttpResponse:
    """Ask where to and how to pay; place the order."""
    customer = customer_of(request)
    form = CheckoutForm(request.POST or None, user=customer)
    if request.method == "POST" and form.is_valid():
        order = _try_to_place(customer, form)
        if order is not None:
            run_due_attempts(order.pk)  # after the commit: the provider is another process
            messages.success(request, f"Thank you! Your order {order.number} is placed.")
            tell_payment(request, order)
            return redirect("storefront:order", order.pk)
    basket = basket_of(customer)
    if not basket.lines:
        messages.info(request, "Your cart is empty. If you have just ordered, you find the order here.")
        return redirect("storefront:orders")
    status = 422 if form.errors else 200
    return render(request, "storefront/checkout.html", {"form": form, "basket": basket}, status=status)


def _try_to_place(customer: User, form: CheckoutForm) -> Order | None:
    """Place the order, or leave the reason why not on the form."""
    try:
        return _place(customer, form)
    except OutOfStock as error:
        form.add_error(None, f"{error} Please change your cart.")
    except UnknownProduct:
        form.add_error(None, "Something in your cart is no longer sold. Please take it out.")
    except OrderTooLarge:
        form.add_error(None, "This is more than fits one order. Please order in parts.")
    except CartChanged:
        form.add_error(None, "Your cart or its prices have changed. Please look at it again, then place the order.")
    return None


@transaction.atomic
def _place(customer: User, form: CheckoutForm) -> Order:
    """Order exactly what the customer saw; a second click waits here and then finds the cart empty."""
    rows = locked_lines_of(customer)
    if priced(rows).total != form.cleaned_data["seen_total"] or not rows:
        raise CartChanged
    address = form.entry
    if address is None and form.cleaned_data["save_address"]:
        first = not form.book
        address = Address.objects.create(user=customer, is_default=first, **form.place)
    return place_order(
        customer=customer,
        lines=[LineRequest(row.product_id, row.quantity) for row in rows],
        ship_to=ShipTo(**form.place),
        shipping_address=address,
        note=form.cleaned_data["note"],
        card=form.cleaned_data["card"] or None,
        empty_cart=True,
    )
