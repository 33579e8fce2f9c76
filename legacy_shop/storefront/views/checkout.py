"""Turn the cart into an order."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from legacy_shop.accounts.models import Address
from legacy_shop.orders.exceptions import (
    CartChanged,
    EmptyCart,
    OrderTooLarge,
    OutOfStock,
    UnknownAddress,
    UnknownProduct,
)
from legacy_shop.orders.operations import order_detail, place
from legacy_shop.payments.services import run_due_attempts
from legacy_shop.storefront.baskets import basket_of
from legacy_shop.storefront.forms import CheckoutForm
from legacy_shop.storefront.once import new_token, once
from legacy_shop.storefront.outcomes import tell_payment
from legacy_shop.storefront.visitors import customer_of
from router.exceptions import StranglerError

LOOK_AGAIN = "Your cart or its prices have changed. Please look at it again, then place the order."
TROUBLE = "We could not take your order just now. Please place it again; it is not going to be placed twice."


@login_required
@transaction.non_atomic_requests
def checkout(request: HttpRequest) -> HttpResponse:
    """Ask where to and how to pay; place the order."""
    customer = customer_of(request)
    form = CheckoutForm(request.POST or None, user=customer)
    if request.method == "POST" and form.is_valid():
        placed = _try_to_place(request, customer, form)
        if placed is not None:
            _keep_address(customer, form)
            run_due_attempts(placed["id"])  # after the commit: the provider is another process
            messages.success(request, f"Thank you! Your order {placed['number']} is placed.")
            tell_payment(request, order_detail(customer.pk, placed["id"])["payment"])
            return redirect("storefront:order", placed["id"])
    basket = basket_of(customer)
    if not basket.lines:
        messages.info(request, "Your cart is empty. If you have just ordered, you find the order here.")
        return redirect("storefront:orders")
    status = 422 if form.errors else 200
    context = {"form": form, "basket": basket, "once": _token(request, form)}
    return render(request, "storefront/checkout.html", context, status=status)


def _try_to_place(request: HttpRequest, customer: User, form: CheckoutForm) -> dict[str, Any] | None:
    """Place the order, or leave the reason why not on the form."""
    try:
        return once(request, place)(customer.pk, _wish(form))
    except OutOfStock as error:
        form.add_error(None, f"{error} Please change your cart.")
    except UnknownProduct:
        form.add_error(None, "Something in your cart is no longer sold. Please take it out.")
    except OrderTooLarge:
        form.add_error(None, "This is more than fits one order. Please order in parts.")
    except (CartChanged, EmptyCart, UnknownAddress):
        form.add_error(None, LOOK_AGAIN)
    except StranglerError:
        form.add_error(None, TROUBLE)
    return None


def _wish(form: CheckoutForm) -> dict[str, Any]:
    """Return what the customer saw and chose, as the orders API takes it."""
    card = form.cleaned_data["card"]
    return {
        "cart": True,
        "address": form.place if form.entry is None else form.entry.pk,
        "note": form.cleaned_data["note"],
        "payment": {"card": card} if card else None,
        "expected_total": form.cleaned_data["seen_total"],
    }


def _keep_address(customer: User, form: CheckoutForm) -> None:
    """Add the address that was written to the book, if the customer wants it there and it is not there yet."""
    wanted = form.entry is None and form.cleaned_data["save_address"]
    if wanted and not Address.objects.filter(user=customer, **form.place).exists():
        Address.objects.create(user=customer, is_default=not form.book, **form.place)


def _token(request: HttpRequest, form: CheckoutForm) -> str:
    """Return a new token for the form; the one it came with if nobody knows yet what became of it."""
    undecided = TROUBLE in form.non_field_errors()
    return request.POST.get("once", new_token()) if undecided else new_token()
