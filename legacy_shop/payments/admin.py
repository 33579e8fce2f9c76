"""The payment ledger in the back office: to read, never to write."""

from django.contrib import admin

from legacy_shop.ledger_admin import LedgerAdmin
from legacy_shop.payments.models import PaymentAttempt


@admin.register(PaymentAttempt)
class PaymentAttemptAdmin(LedgerAdmin):
    """Everything ever asked of the provider."""

    list_display = ("created_at", "order", "kind", "state", "amount", "currency", "card", "failure", "settled_at")
    list_filter = ("state", "kind", "currency")
    list_select_related = ("order",)
    search_fields = ("order__number", "provider_key", "provider_reference")
    date_hierarchy = "created_at"
    readonly_fields = ("provider_key",)
    ordering = ("-id",)
    show_full_result_count = False
