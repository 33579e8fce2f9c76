"""What a customer has ordered, and what can still be done about it."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from legacy_shop.orders.documents import with_parts
from legacy_shop.orders.exceptions import NotCancellable, NotChangeable
from legacy_shop.orders.models import Order
from legacy_shop.orders.services import BEFORE_SHIPPING, ShipTo, cancel_order, change_address
from legacy_shop.payments.exceptions import NotPayable
from legacy_shop.payments.ledger import payment_state
from legacy_shop.payments.services import pay_order, run_due_attempts
from legacy_shop.storefront.forms import ADDRESS_FIELDS, AddressForm, CardForm
from legacy_shop.storefront.outcomes import PAYABLE, state_of_money, tell_payment
from legacy_shop.storefront.visitors import customer_of

PAGE_SIZE = 20


@login_required
def order_list(request: HttpRequest) -> HttpResponse:
    """List the customer's orders, newest first."""
    paginator = Paginator(with_parts(_orders_of(request)), PAGE_SIZE)
    page = paginator.get_page(request.GET.get("page"))
    context = {
        "page": page,
        "orders": [{"order": order, "payment": payment_state(order.payment_attempts.all())} for order in page],
        "page_numbers": paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1),
    }
    return render(request, "storefront/orders.html", context)


@login_required
def order_detail(request: HttpRequest, order_id: int) -> HttpResponse:
    """Show one order with its payments and what can be done."""
    order = get_object_or_404(with_parts(_orders_of(request)), pk=order_id)
    return _show(request, order)


@login_required
def cancel(request: HttpRequest, order_id: int) -> HttpResponse:
    """Call an order off."""
    order = get_object_or_404(_orders_of(request), pk=order_id)
    if request.method == "POST":
        try:
            cancel_order(order.pk, customer=customer_of(request))
        except NotCancellable as error:
            messages.error(request, str(error))
        else:
            run_due_attempts(order.pk)
            messages.success(request, f"Order {order.number} is cancelled.")
            if state_of_money(order) in {"refunding", "refunded"}:
                tell_payment(request, order)
    return redirect("storefront:order", order.pk)


@login_required
def address(request: HttpRequest, order_id: int) -> HttpResponse:
    """Send an order somewhere else."""
    order = get_object_or_404(with_parts(_orders_of(request)), pk=order_id)
    if request.method != "POST":
        return redirect("storefront:order", order.pk)
    form = AddressForm(request.POST, initial=_place(order), prefix="to")
    if not form.is_valid():
        return _show(request, order, address_form=form, status=422)
    try:
        change_address(order.pk, ShipTo(**form.place), customer=customer_of(request))
    except NotChangeable as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "The order goes to the new address.")
    return redirect("storefront:order", order.pk)


@login_required
def pay(request: HttpRequest, order_id: int) -> HttpResponse:
    """Pay an order that has not been paid, or whose card was declined."""
    order = get_object_or_404(with_parts(_orders_of(request)), pk=order_id)
    if request.method != "POST":
        return redirect("storefront:order", order.pk)
    form = CardForm(request.POST)
    if not form.is_valid():
        return _show(request, order, card_form=form, status=422)
    try:
        pay_order(order, form.cleaned_data["card"])
    except NotPayable as error:
        messages.error(request, str(error))
    else:
        tell_payment(request, order)
    return redirect("storefront:order", order.pk)


def _orders_of(request: HttpRequest) -> QuerySet[Order]:
    return Order.objects.filter(customer=customer_of(request))


def _place(order: Order) -> dict[str, str]:
    return {name: getattr(order, f"ship_{name}") for name in ADDRESS_FIELDS}


def _show(
    request: HttpRequest,
    order: Order,
    *,
    address_form: AddressForm | None = None,
    card_form: CardForm | None = None,
    status: int = 200,
) -> HttpResponse:
    """Render an order with its forms, those with errors as they were sent."""
    payment = payment_state(order.payment_attempts.all())
    open_ended = order.status in BEFORE_SHIPPING
    payable = order.status == Order.Status.PENDING and payment in PAYABLE
    context = {
        "order": order,
        "payment": payment,
        "changeable": open_ended,
        "address_form": (address_form or AddressForm(initial=_place(order), prefix="to")) if open_ended else None,
        "card_form": (card_form or CardForm()) if payable else None,
    }
    return render(request, "storefront/order.html", context, status=status)
