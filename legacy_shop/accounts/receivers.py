"""Keep profiles and loyalty points in step with users and orders."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, Sum
from django.db.models.functions import Greatest
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.utils import timezone

from legacy_shop.accounts.models import LoyaltyBooking, Profile
from legacy_shop.orders.models import Order
from legacy_shop.orders.signals import order_cancelled, order_paid


@receiver(post_save, sender=settings.AUTH_USER_MODEL, dispatch_uid="accounts.create_profile")
def create_profile(sender: Any, instance: User, created: bool, raw: bool = False, **kwargs: Any) -> None:
    """Give every new user a profile; users made by bulk_create get theirs from whoever made them."""
    if created and not raw:
        Profile.objects.get_or_create(user=instance)


@receiver(order_paid, dispatch_uid="accounts.book_points")
def book_points(sender: Any, order: Order, **kwargs: Any) -> None:
    """Give a point for every whole unit of money, unless the order was cancelled before we got here."""
    with transaction.atomic():
        current = Order.objects.select_for_update().get(pk=order.pk)
        if current.status != Order.Status.CANCELLED and not LoyaltyBooking.objects.filter(order=order).exists():
            _book(current, int(current.total))


@receiver(order_cancelled, dispatch_uid="accounts.take_points_back")
def take_points_back(sender: Any, order: Order, **kwargs: Any) -> None:
    """Take back what the order gave."""
    with transaction.atomic():
        current = Order.objects.select_for_update().get(pk=order.pk)
        given = LoyaltyBooking.objects.filter(order=order).aggregate(points=Sum("points"))["points"]
        _book(current, -(given or 0))


def _book(order: Order, points: int) -> None:
    if not points:
        return
    LoyaltyBooking.objects.create(user_id=order.customer_id, order=order, points=points, booked_at=timezone.now())
    Profile.objects.get_or_create(user_id=order.customer_id)
    Profile.objects.filter(user_id=order.customer_id).update(loyalty_points=Greatest(F("loyalty_points") + points, 0))
