"""Carts in the back office."""

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from legacy_shop.cart.models import Cart, CartLine
from legacy_shop.ledger_admin import LedgerAdmin, ReadOnlyInline


class CartLineInline(ReadOnlyInline):
    """What lies in a cart."""

    model = CartLine


@admin.register(Cart)
class CartAdmin(LedgerAdmin):
    """Carts, for support to look into."""

    list_display = ("user", "size", "updated_at")
    list_select_related = ("user",)
    search_fields = ("user__username",)
    date_hierarchy = "updated_at"
    inlines = (CartLineInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Cart]:
        """Count the lines in the same query."""
        return super().get_queryset(request).annotate(size=Count("lines"))

    @admin.display(description="products", ordering="size")
    def size(self, cart: Cart) -> int:
        """Return how many different products lie in the cart."""
        return getattr(cart, "size", 0)
