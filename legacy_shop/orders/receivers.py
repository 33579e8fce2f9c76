"""Write to customers about their orders."""

from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.dispatch import receiver

from legacy_shop.orders.models import Order
from legacy_shop.orders.signals import order_cancelled, order_paid, order_placed


def _write(order: Order, subject: str, text: str) -> None:
    """Send a mail to the customer, if we know where to."""
    address = order.customer.email
    if address:
        greeting = f"Dear {order.customer.get_full_name() or order.customer.get_username()},\n\n"
        send_mail(subject, f"{greeting}{text}\n\nYour shop\n", settings.DEFAULT_FROM_EMAIL, [address])


@receiver(order_placed, dispatch_uid="orders.mail_placed")
def mail_placed(sender: Any, order: Order, **kwargs: Any) -> None:
    """Confirm that we have the order."""
    _write(order, f"Your order {order.number}", f"Thank you for your order of {order.total:.2f} {order.currency}.")


@receiver(order_paid, dispatch_uid="orders.mail_paid")
def mail_paid(sender: Any, order: Order, **kwargs: Any) -> None:
    """Say that the money is here."""
    _write(order, f"Payment of order {order.number}", f"We received {order.total:.2f} {order.currency}.")


@receiver(order_cancelled, dispatch_uid="orders.mail_cancelled")
def mail_cancelled(sender: Any, order: Order, **kwargs: Any) -> None:
    """Confirm that nothing will be sent."""
    _write(order, f"Order {order.number} is cancelled", "Your order is cancelled. What you paid is on its way back.")
