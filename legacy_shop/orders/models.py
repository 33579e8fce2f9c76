"""What was bought. Foreign keys into every other app, as monoliths have them."""

from django.conf import settings
from django.db import models


class Order(models.Model):
    """An order of one customer, with the address as it was when it was placed."""

    class Status(models.IntegerChoices):
        """Where an order stands; the numbers are what old reports and raw SQL know."""

        PENDING = 10, "pending"
        PAID = 20, "paid"
        SHIPPED = 30, "shipped"
        COMPLETED = 40, "completed"
        CANCELLED = 90, "cancelled"
        EXPIRED = 95, "expired"

    number = models.CharField(max_length=20, unique=True)
    customer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="orders")
    status = models.PositiveSmallIntegerField(choices=Status.choices, default=Status.PENDING)
    shipping_address = models.ForeignKey(
        "accounts.Address", on_delete=models.SET_NULL, null=True, blank=True, related_name="orders"
    )
    ship_name = models.CharField(max_length=120)
    ship_street = models.CharField(max_length=200)
    ship_city = models.CharField(max_length=100)
    ship_postcode = models.CharField(max_length=20)
    ship_country = models.CharField(max_length=2, default="US")
    currency = models.CharField(max_length=3, default="USD")
    total = models.DecimalField(max_digits=12, decimal_places=2)
    note = models.CharField(max_length=500, blank=True)
    placed_at = models.DateTimeField()
    paid_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-placed_at", "-id")
        indexes = (
            models.Index(fields=("customer", "-placed_at", "-id"), name="orders_of_customer"),
            models.Index(fields=("status", "placed_at"), name="orders_by_status"),
        )

    def __str__(self) -> str:
        return self.number


class OrderLine(models.Model):
    """One product of an order, with name and price as they were."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey("catalog.Product", on_delete=models.PROTECT, related_name="order_lines")
    sku = models.CharField(max_length=40)
    name = models.CharField(max_length=200)
    quantity = models.PositiveIntegerField()
    unit_price = models.DecimalField(max_digits=10, decimal_places=2)
    amount = models.DecimalField(max_digits=12, decimal_places=2)

    class Meta:
        ordering = ("id",)
        constraints = (models.CheckConstraint(condition=models.Q(quantity__gt=0), name="order_line_quantity_positive"),)

    def __str__(self) -> str:
        return f"{self.quantity} x {self.sku}"
