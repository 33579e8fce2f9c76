"""Small things that many pages show."""

from decimal import Decimal
from functools import lru_cache

from django import template
from django.db.models import Sum
from django.http import HttpRequest
from django.template.context import RequestContext
from django.utils.safestring import SafeString, mark_safe

from legacy_shop.cart.services import lines_of
from legacy_shop.catalog.models import Product
from legacy_shop.storefront.covers import cover_svg
from legacy_shop.storefront.shown import ShownOrder

register = template.Library()

STATUS_TONES = {
    "pending": "waiting",
    "paid": "good",
    "shipped": "good",
    "completed": "done",
    "cancelled": "off",
    "expired": "off",
}
PAYMENT_LABELS = {
    "none": ("not paid", "off"),
    "open": ("payment being confirmed", "waiting"),
    "paid": ("payment received", "good"),
    "failed": ("payment declined", "bad"),
    "refunding": ("refund on its way", "waiting"),
    "refunded": ("refunded", "done"),
}


@register.filter
def money(amount: Decimal) -> str:
    """Return an amount as people write it."""
    return f"${amount:,.2f}"


@register.filter
def reason(failure: str) -> str:
    """Return a provider's code as words: card_declined becomes Card declined."""
    return failure.replace("_", " ").capitalize()


@register.simple_tag
def cover(product: Product) -> SafeString:
    """Return the product's picture."""
    return _cover(product.sku)


@lru_cache(maxsize=1024)
def _cover(sku: str) -> SafeString:
    return mark_safe(cover_svg(sku))  # holds numbers and colours only, nothing that anybody typed


@register.simple_tag(takes_context=True)
def cart_pieces(context: RequestContext) -> int:
    """Return how many pieces lie in the visitor's cart."""
    request: HttpRequest | None = context.get("request")
    if request is None or not request.user.is_authenticated:
        return 0
    return lines_of(request.user).aggregate(pieces=Sum("quantity"))["pieces"] or 0


@register.inclusion_tag("storefront/badge.html")
def status_badge(order: ShownOrder) -> dict[str, str]:
    """Show where an order stands."""
    return {"label": order.status, "tone": STATUS_TONES[order.status]}


@register.inclusion_tag("storefront/badge.html")
def payment_badge(order: ShownOrder) -> dict[str, str]:
    """Show how the payment of an order stands; one paid outside of the ledger counts as paid."""
    label, tone = PAYMENT_LABELS["paid" if order.payment == "none" and order.paid_at else order.payment]
    return {"label": label, "tone": tone}
