"""Write to customers about their orders, whichever side changed them."""

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import EmailMessage

from legacy_shop.orders.integration import OrderCancelled, OrderPaid, OrderPlaced
from migrations_plan.sync.events.api import Effects, Event, handles

MAILS = {
    OrderPlaced: ("placed", "Your order {number}", "Thank you for your order of {total:.2f} {currency}."),
    OrderPaid: ("paid", "Payment of order {number}", "We received {total:.2f} {currency}."),
    OrderCancelled: (
        "cancelled",
        "Order {number} is cancelled",
        "Your order is cancelled. What you paid is on its way back.",
    ),
}
"""Kind, subject and text of the mail about each event."""


@handles(OrderPlaced, OrderPaid, OrderCancelled, name="orders.mail", effects=Effects.OUTSIDE)
def write_to_customer(event: Event[OrderPlaced | OrderPaid | OrderCancelled]) -> None:
    """Send the mail, if we know where to; its Message-ID lets a mail server drop what it was given twice."""
    fact = event.payload
    customer = User.objects.filter(pk=fact.customer).first()
    if customer is None or not customer.email:
        return
    kind, subject, text = MAILS[type(fact)]
    facts = {"number": fact.number, "total": fact.total, "currency": fact.currency}
    greeting = f"Dear {customer.get_full_name() or customer.get_username()},"
    EmailMessage(
        subject.format(**facts),
        f"{greeting}\n\n{text.format(**facts)}\n\nYour shop\n",
        settings.DEFAULT_FROM_EMAIL,
        [customer.email],
        headers={
            "Message-ID": f"<{event.idempotency_key}@shop.example.com>",
            "X-Shop-Order": fact.number,
            "X-Shop-Mail": kind,
        },
    ).send()
