"""What a customer has ordered, and what can still be done about it."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from legacy_shop.api_support import PAGE_SIZE
from legacy_shop.orders.exceptions import NotCancellable, NotChangeable, UnknownOrder, UnknownPage
from legacy_shop.orders.operations import cancel as cancel_order
from legacy_shop.orders.operations import change_address, order_detail, order_page
from legacy_shop.payments.exceptions import NotPayable
from legacy_shop.payments.models import PaymentAttempt
from legacy_shop.payments.services import pay_order, run_due_attempts
from legacy_shop.storefront.forms import ADDRESS_FIELDS, AddressForm, CardForm
from legacy_shop.storefront.once import new_token, once
from legacy_shop.storefront.outcomes import tell_payment, tell_refusal
from legacy_shop.storefront.shown import ShownOrder
from legacy_shop.storefront.visitors import customer_of
from router.exceptions import StranglerError


@login_required
def order_list(request: HttpRequest) -> HttpResponse:
    """List the customer's orders, newest first."""
    found = _page(customer_of(request).pk, request.GET.get("page", "1"))
    paginator = Paginator(range(found["count"]), PAGE_SIZE)
    page = paginator.get_page(found["page"])
    context = {
        "page": page,
        "orders": [ShownOrder.of(document) for document in found["results"]],
        "page_numbers": paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1),
    }
    return render(request, "storefront/orders.html", context)


@login_required
def order_detail_page(request: HttpRequest, order_id: int) -> HttpResponse:
    """Show one order with its payments and what can be done."""
    return _show(request, _order(request, order_id))


@login_required
@transaction.non_atomic_requests
def cancel(request: HttpRequest, order_id: int) -> HttpResponse:
    """Call an order off."""
    order = _order(request, order_id)
    if request.method == "POST":
        try:
            once(request, cancel_order)(customer_of(request).pk, order.id)
        except (NotCancellable, StranglerError) as error:
            tell_refusal(request, error)
        else:
            run_due_attempts(order.id)
            messages.success(request, f"Order {order.number} is cancelled.")
            payment = _order(request, order.id).payment
            if payment in {"refunding", "refunded"}:
                tell_payment(request, payment)
    return redirect("storefront:order", order.id)


@login_required
@transaction.non_atomic_requests
def address(request: HttpRequest, order_id: int) -> HttpResponse:
    """Send an order somewhere else."""
    order = _order(request, order_id)
    if request.method != "POST":
        return redirect("storefront:order", order.id)
    form = AddressForm(request.POST, initial=order.ship_to, prefix="to")
    if not form.is_valid():
        return _show(request, order, address_form=form, status=422)
    try:
        once(request, change_address)(customer_of(request).pk, order.id, form.place)
    except (NotChangeable, StranglerError) as error:
        tell_refusal(request, error)
    else:
        messages.success(request, "The order goes to the new address.")
    return redirect("storefront:order", order.id)


@login_required
@transaction.non_atomic_requests
def pay(request: HttpRequest, order_id: int) -> HttpResponse:
    """Pay an order that has not been paid, or whose card was declined."""
    order = _order(request, order_id)
    if request.method != "POST":
        return redirect("storefront:order", order.id)
    form = CardForm(request.POST)
    if not form.is_valid():
        return _show(request, order, card_form=form, status=422)
    try:
        pay_order(order.id, form.cleaned_data["card"], customer=customer_of(request))
    except (NotPayable, StranglerError) as error:
        tell_refusal(request, error)
    else:
        tell_payment(request, _order(request, order.id).payment)
    return redirect("storefront:order", order.id)


def _order(request: HttpRequest, order_id: int) -> ShownOrder:
    try:
        return ShownOrder.of(order_detail(customer_of(request).pk, order_id))
    except UnknownOrder as error:
        raise Http404(str(error)) from error


def _page(customer_id: int, number: str) -> dict[str, Any]:
    """Return the page asked for; the first for nonsense, the last for a number that is too high."""
    try:
        return order_page(customer_id, number)
    except UnknownPage:
        first = order_page(customer_id, "1")
        if number.isdecimal() and int(number) > first["pages"] > 1:
            return order_page(customer_id, str(first["pages"]))
        return first


def _show(
    request: HttpRequest,
    order: ShownOrder,
    *,
    address_form: AddressForm | None = None,
    card_form: CardForm | None = None,
    status: int = 200,
) -> HttpResponse:
    """Render an order with its forms, those with errors as they were sent."""
    initial = {name: order.ship_to[name] for name in ADDRESS_FIELDS}
    context = {
        "order": order,
        "attempts": PaymentAttempt.objects.filter(order_id=order.id),
        "once": new_token(),
        "changeable": order.open_ended,
        "address_form": (address_form or AddressForm(initial=initial, prefix="to")) if order.open_ended else None,
        "card_form": (card_form or CardForm()) if order.payable else None,
    }
    return render(request, "storefront/order.html", context, status=status)
