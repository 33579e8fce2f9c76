"""The service's own schema: its own words, amounts in minor units, states as text.

Customers, products and entries of address books belong to others, so they are plain numbers here, not foreign keys.
"""

from django.db import models
from django.db.models import Q

from extracted.orders.own_store.ids import APP

STATES = ("pending", "paid", "shipped", "completed", "cancelled", "expired")
LIVE = ("open", "succeeded")
"""The states of which an order may have one charge and one refund."""


class Order(models.Model):
    """An order of one customer, with its recipient and address as they were when it was placed."""

    id = models.BigAutoField(primary_key=True)
    reference = models.CharField(max_length=20, unique=True)
    buyer = models.BigIntegerField(help_text="The customer's number in the shop.")
    state = models.CharField(max_length=10)
    given_name = models.CharField(  # noqa: DJ001 (NULL: there is no space in the name, which is not an empty one)
        max_length=120, null=True, blank=True, help_text="What stands before the last space of the recipient's name."
    )
    family_name = models.CharField(max_length=120, blank=True)
    street = models.CharField(max_length=200)
    town = models.CharField(max_length=100)
    postal_code = models.CharField(max_length=20)
    country = models.CharField(max_length=2)
    address_entry = models.BigIntegerField(
        null=True, blank=True, help_text="The entry of the address book that the order came from, if it is still there."
    )
    currency = models.CharField(max_length=3)
    total_minor = models.BigIntegerField(help_text="In cents.")
    remark = models.CharField(max_length=500, blank=True)
    ordered_at = models.DateTimeField()
    paid_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        app_label = APP
        ordering = ("-ordered_at", "-id")
        constraints = (models.CheckConstraint(condition=Q(state__in=STATES), name="own_order_state_known"),)
        indexes = (
            models.Index(fields=("buyer", "-ordered_at", "-id"), name="own_orders_of_buyer"),
            models.Index(fields=("state", "-ordered_at", "-id"), name="own_orders_by_state"),
            models.Index(fields=("-ordered_at", "-id"), name="own_orders_newest"),
        )

    def __str__(self) -> str:
        return self.reference


class Item(models.Model):
    """One product of an order, with title and price as they were."""

    id = models.BigAutoField(primary_key=True)
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="items")
    product = models.BigIntegerField(help_text="The product's number in the shop's catalogue.")
    sku = models.CharField(max_length=40)
    title = models.CharField(max_length=200)
    pieces = models.PositiveIntegerField()
    unit_minor = models.BigIntegerField(help_text="The price of one, in cents.")
    amount_minor = models.BigIntegerField(help_text="What was charged for all of them, in cents.")

    class Meta:
        app_label = APP
        ordering = ("id",)
        constraints = (models.CheckConstraint(condition=Q(pieces__gt=0), name="own_item_pieces_positive"),)

    def __str__(self) -> str:
        return f"{self.pieces} x {self.sku}"


class Attempt(models.Model):
    """One charge or refund that was asked of the payment provider, or is about to be."""

    id = models.BigAutoField(primary_key=True)
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="attempts")
    direction = models.CharField(max_length=10)
    state = models.CharField(max_length=10)
    amount_minor = models.BigIntegerField(help_text="In cents.")
    currency = models.CharField(max_length=3)
    card_token = models.CharField(max_length=64, blank=True)
    provider_key = models.UUIDField(unique=True)
    provider_reference = models.CharField(max_length=64, blank=True)
    failure = models.CharField(max_length=200, blank=True)
    opened_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)
    told_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        app_label = APP
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(
                fields=("order", "direction"), condition=Q(state__in=LIVE), name="own_one_live_attempt"
            ),
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="own_attempt_amount_positive"),
        )
        indexes = (
            models.Index(fields=("opened_at",), condition=Q(state="open"), name="own_attempts_open"),
            models.Index(
                fields=("settled_at",),
                condition=Q(direction="charge", state="succeeded", told_at__isnull=True),
                name="own_charges_untold",
            ),
        )

    def __str__(self) -> str:
        return f"{self.direction} {self.amount_minor} {self.currency} for order {self.order_id}: {self.state}"


class Counter(models.Model):
    """The id that the next row of a table gets which is made here; used on SQLite alone (see ``ids``)."""

    name = models.CharField(primary_key=True, max_length=60)
    next = models.BigIntegerField()

    class Meta:
        app_label = APP

    def __str__(self) -> str:
        return f"{self.name}: {self.next}"
