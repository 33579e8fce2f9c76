"""What to tell a customer about the money of an order."""

from django.contrib import messages
from django.http import HttpRequest

from legacy_shop.orders.models import Order
from legacy_shop.payments.ledger import payment_state
from legacy_shop.payments.models import PaymentAttempt

PAYMENT_MESSAGES = {
    "none": (messages.INFO, "It waits for your payment."),
    "open": (messages.INFO, "The bank has not answered yet. We keep asking; you need not do anything."),
    "paid": (messages.SUCCESS, "Your payment has arrived."),
    "failed": (messages.ERROR, "Your card was declined. You can pay with another one below."),
    "refunding": (messages.INFO, "Your money is on its way back."),
    "refunded": (messages.SUCCESS, "Your money has been paid back."),
}
PAYABLE = ("none", "failed")


def state_of_money(order: Order) -> str:
    """Return the payment state of an order as the database has it now."""
    return payment_state(PaymentAttempt.objects.filter(order=order))


def tell_payment(request: HttpRequest, order: Order) -> None:
    """Leave a message that says how the payment of an order stands."""
    level, text = PAYMENT_MESSAGES[state_of_money(order)]
    messages.add_message(request, level, text)
