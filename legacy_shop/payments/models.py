"""The ledger of everything the shop ever asked of the payment provider."""

import uuid

from django.db import models
from django.db.models import Q


class PaymentAttempt(models.Model):
    """One charge or refund: committed before the provider is called, settled after it has answered."""

    class Kind(models.TextChoices):
        """Which way the money goes."""

        CHARGE = "charge", "charge"
        REFUND = "refund", "refund"

    class State(models.TextChoices):
        """Open until the provider's answer is known for certain."""

        OPEN = "open", "open"
        SUCCEEDED = "succeeded", "succeeded"
        FAILED = "failed", "failed"

    order = models.ForeignKey("orders.Order", on_delete=models.PROTECT, related_name="payment_attempts")
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.CHARGE)
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    currency = models.CharField(max_length=3, default="USD")
    card = models.CharField(max_length=64, blank=True, help_text="The provider's token of the card, never its number.")
    provider_key = models.UUIDField(
        default=uuid.uuid4, unique=True, editable=False, help_text="Idempotency key at the provider."
    )
    provider_reference = models.CharField(max_length=64, blank=True)
    failure = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)
    told_at = models.DateTimeField(
        null=True, blank=True, help_text="When the order was told that this charge has succeeded."
    )

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(
                fields=("order", "kind"),
                condition=Q(state__in=("open", "succeeded")),
                name="one_live_attempt_per_order_and_kind",
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="attempt_amount_positive"),
        )
        indexes = (
            models.Index(fields=("state", "created_at"), name="attempts_by_state"),
            models.Index(
                fields=("settled_at",),
                condition=Q(kind="charge", state="succeeded", told_at__isnull=True),
                name="charges_untold",
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.amount} {self.currency} for order {self.order_id}: {self.state}"
