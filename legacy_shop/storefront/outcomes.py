"""What to tell a customer about the money of an order."""

from django.contrib import messages
from django.http import HttpRequest

from router.exceptions import StranglerError

TROUBLE = "We could not do that just now. Please look at the order, and try again if it is not done yet."

PAYMENT_MESSAGES = {
    "none": (messages.INFO, "It waits for your payment."),
    "open": (messages.INFO, "The bank has not answered yet. We keep asking; you need not do anything."),
    "paid": (messages.SUCCESS, "Your payment has arrived."),
    "failed": (messages.ERROR, "Your card was declined. You can pay with another one below."),
    "refunding": (messages.INFO, "Your money is on its way back."),
    "refunded": (messages.SUCCESS, "Your money has been paid back."),
}


def tell_payment(request: HttpRequest, payment: str) -> None:
    """Leave a message that says how the payment of an order stands."""
    level, text = PAYMENT_MESSAGES[payment]
    messages.add_message(request, level, text)


def tell_refusal(request: HttpRequest, error: Exception) -> None:
    """Leave a message that says why nothing was done."""
    messages.error(request, TROUBLE if isinstance(error, StranglerError) else str(error))
