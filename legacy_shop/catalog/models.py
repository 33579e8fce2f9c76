"""What is sold, and how much of it is left."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone


class Category(models.Model):
    """A shelf of the shop."""

    name = models.CharField(max_length=100)
    slug = models.SlugField(unique=True)

    class Meta:
        verbose_name_plural = "categories"
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Product(models.Model):
    """One thing that can be bought."""

    category = models.ForeignKey(Category, on_delete=models.PROTECT, related_name="products")
    sku = models.CharField(max_length=40, unique=True)
    slug = models.SlugField(max_length=120, unique=True)
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    price = models.DecimalField(max_digits=10, decimal_places=2)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name", "id")

    def __str__(self) -> str:
        return self.name


class Stock(models.Model):
    """How many pieces of a product are on hand."""

    product = models.OneToOneField(Product, on_delete=models.CASCADE, primary_key=True, related_name="stock")
    on_hand = models.IntegerField(default=0)

    class Meta:
        verbose_name_plural = "stock"
        constraints = (models.CheckConstraint(condition=models.Q(on_hand__gte=0), name="stock_never_negative"),)

    def __str__(self) -> str:
        return f"{self.on_hand} of {self.product_id}"


class StockReservation(models.Model):
    """Pieces that a service has taken for an order of its own: given back unless the order comes to be.

    Only the saga that made a reservation ends it. One that has ended, or was called off before it arrived, is kept for
    a while, so that a request that comes late finds that there is nothing left to do.
    """

    class State(models.TextChoices):
        """How a reservation stands."""

        RESERVED = "reserved", "reserved"
        CONFIRMED = "confirmed", "confirmed"
        RELEASED = "released", "released"
        REFUSED = "refused", "refused"

    saga = models.UUIDField(primary_key=True)
    state = models.CharField(max_length=10, choices=State.choices)
    customer_id = models.BigIntegerField(null=True, blank=True, help_text="Unknown where it was called off at once.")
    lines = models.JSONField(default=list, blank=True, help_text="Product and pieces of each line.")
    from_cart = models.BooleanField(default=False)
    answer = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder, help_text="Given again to who asks.")
    status = models.PositiveSmallIntegerField(default=200, help_text="Of the answer.")
    made_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("made_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("customer_id",),
                condition=models.Q(state="reserved", from_cart=True),
                name="one_reservation_per_cart",
            ),
        )
        indexes = (
            models.Index(fields=("made_at",), condition=models.Q(state="reserved"), name="reservations_open"),
            models.Index(fields=("ended_at",), name="reservations_ended"),
        )

    def __str__(self) -> str:
        return f"{self.saga}: {self.state}"


class Restock(models.Model):
    """Pieces that came back from a service's order, once per key."""

    key = models.CharField(primary_key=True, max_length=100)
    lines = models.JSONField(help_text="Product and pieces of each line.")
    made_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = (models.Index(fields=("made_at",), name="restocks_by_age"),)

    def __str__(self) -> str:
        return self.key
