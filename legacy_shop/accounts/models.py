"""Who buys: profiles and address books on top of Django's own users."""

from django.conf import settings
from django.db import models


class Profile(models.Model):
    """What the shop keeps about a customer beside the login."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="profile")
    phone = models.CharField(max_length=40, blank=True)
    loyalty_points = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"profile of {self.user}"


class Address(models.Model):
    """A place to deliver to, kept in the customer's address book."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="addresses")
    name = models.CharField(max_length=120)
    street = models.CharField(max_length=200)
    city = models.CharField(max_length=100)
    postcode = models.CharField(max_length=20)
    country = models.CharField(max_length=2, default="US")
    is_default = models.BooleanField(default=False)

    class Meta:
        verbose_name_plural = "addresses"

    def __str__(self) -> str:
        return f"{self.name}, {self.street}, {self.postcode} {self.city}"


class LoyaltyBooking(models.Model):
    """Points given to, or taken back from, a customer for one order."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="loyalty_bookings")
    # The event that an order of a service was paid may be here before sync has brought the order.
    order = models.ForeignKey(
        "orders.Order", on_delete=models.CASCADE, related_name="loyalty_bookings", db_constraint=False
    )
    points = models.IntegerField()
    booked_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.points:+d} points for order {self.order_id}"
