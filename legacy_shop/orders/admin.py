"""Orders in the back office. Whatever changes one goes the way customers' own requests go."""

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from legacy_shop.errors import ShopError
from legacy_shop.ledger_admin import ReadOnlyInline
from legacy_shop.orders.models import Order, OrderLine
from legacy_shop.orders.operations import cancel as cancel_order
from legacy_shop.orders.operations import change_address
from legacy_shop.orders.services import BEFORE_SHIPPING
from legacy_shop.payments.ledger import payment_state
from legacy_shop.payments.models import PaymentAttempt
from router.exceptions import StranglerError

SHIP_FIELDS = ("ship_name", "ship_street", "ship_city", "ship_postcode", "ship_country")


class OrderLineInline(ReadOnlyInline):
    """What was ordered."""

    model = OrderLine
    fields = ("sku", "name", "quantity", "unit_price", "amount")


class PaymentAttemptInline(ReadOnlyInline):
    """What was asked of the payment provider for this order."""

    model = PaymentAttempt
    fields = ("kind", "state", "amount", "currency", "card", "failure", "created_at", "settled_at")


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """Orders: to search and to read, to cancel, and to send elsewhere."""

    actions = ("cancel",)
    inlines = (OrderLineInline, PaymentAttemptInline)
    list_display = ("number", "customer", "status", "payment", "total", "placed_at", "paid_at")
    list_filter = ("status", "placed_at", "ship_country")
    list_select_related = ("customer",)
    search_fields = ("number", "customer__username", "customer__email", "ship_name")
    date_hierarchy = "placed_at"
    ordering = ("-placed_at", "-id")
    list_per_page = 50
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": ("number", "customer", "status", "payment", "total", "currency", "note")}),
        ("Goes to", {"fields": SHIP_FIELDS}),
        ("When", {"fields": ("placed_at", "paid_at", "closed_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        """Fetch the payments of all orders shown at once."""
        return super().get_queryset(request).prefetch_related("payment_attempts")

    def get_readonly_fields(self, request: HttpRequest, obj: Order | None = None) -> tuple[str, ...]:
        """Let only the address be changed, and only before the parcel has left."""
        fixed = ("number", "customer", "status", "payment", "total", "currency", "note")
        moments = ("placed_at", "paid_at", "closed_at")
        open_ended = obj is not None and obj.status in BEFORE_SHIPPING
        return fixed + moments if open_ended else fixed + moments + SHIP_FIELDS

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Orders come from customers."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Order | None = None) -> bool:
        """Orders are cancelled, never deleted."""
        return False

    @admin.display(description="payment")
    def payment(self, order: Order) -> str:
        """Return what became of the money."""
        return payment_state(order.payment_attempts.all())

    def save_model(self, request: HttpRequest, obj: Order, form: Any, change: bool) -> None:
        """Send the order elsewhere once the page's transaction is over: a seam may not be called in one."""
        if form.changed_data:
            place = {name.removeprefix("ship_"): form.cleaned_data[name] for name in SHIP_FIELDS}
            said = self.construct_change_message(request, form, [], False)
            transaction.on_commit(partial(self._send_elsewhere, request, obj, place, said))

    def _send_elsewhere(self, request: HttpRequest, order: Order, place: dict[str, str], said: Any) -> None:
        try:
            change_address(order.customer_id, order.pk, place)
        except (ShopError, StranglerError) as error:
            messages.error(request, str(error))
        else:
            super().log_change(request, order, said)
            messages.success(request, f"Order {order.number} goes to the new address.")

    def log_change(self, request: HttpRequest, obj: Order, message: Any) -> Any:
        """Leave the log to what is done afterwards: until then nothing has changed."""
        return None

    def response_change(self, request: HttpRequest, obj: Order) -> HttpResponse:
        """Go on without saying that anything was changed; what is done afterwards says that."""
        if "_continue" in request.POST:
            return HttpResponseRedirect(request.path)
        return self.response_post_save_change(request, obj)

    @admin.action(description="Cancel, and refund what was paid", permissions=("change",))
    def cancel(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        """Cancel the orders one by one, so that one that cannot be does not keep the others from it."""
        cancelled = 0
        for order in queryset.order_by("pk"):
            try:
                cancel_order(order.customer_id, order.pk)
            except (ShopError, StranglerError) as error:
                messages.error(request, str(error))
            else:
                cancelled += 1
                super().log_change(request, order, "Cancelled.")
        if cancelled:  # the provider is not called from here: a slow one would hold up a long selection
            many = "s" if cancelled > 1 else ""
            messages.success(request, f"{cancelled} order{many} cancelled. Refunds are made by the settling task.")
