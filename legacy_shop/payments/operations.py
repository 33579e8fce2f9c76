"""Paying, as the monolith's own code asks for it: a charge is opened in the ledger of whoever writes the order."""

from typing import Any

from django.contrib.auth.models import User

from legacy_shop.orders.documents import fresh_document
from legacy_shop.orders.refusals import raise_refusal, refusal_of
from legacy_shop.payments.ledger import count_open_attempts, open_payment
from router import seam

Document = dict[str, Any]


def _owner(customer_id: int, *rest: Any) -> int:
    return customer_id


@seam.write("orders.open_charge", key=_owner, refusal=refusal_of)
def open_charge(customer_id: int, order_id: int, card: str) -> Document:
    """Open the charge of an order; raise UnknownOrder or NotPayable.

    Returns the ``order``, and the ``key``, ``state`` and ``failure`` of the charge. The service has it run before it
    answers; whatever is open in the monolith's own ledger, the caller runs.
    """
    attempt = open_payment(order_id, card, customer=User(pk=customer_id))
    return {
        "order": fresh_document(order_id),
        "key": str(attempt.provider_key),
        "state": str(attempt.state),
        "failure": attempt.failure,
    }


@open_charge.remote
def _ask_to_open_charge(service: seam.Client, customer_id: int, order_id: int, card: str) -> Document:
    answer = service.post(f"/internal/orders/{order_id}/charge/", {"card": card})
    if not answer.ok:
        raise_refusal(answer.status, answer.json())
    return answer.json()


@seam.write("orders.settle", key=_owner, refusal=refusal_of)
def settle(customer_id: int, order_id: int) -> Document:
    """Have the side that writes the order settle what is open of it; return how many attempts are ``open`` then.

    The monolith's own are run by ``services.settle_open``, outside of any transaction: here is nothing to do for them.
    """
    return {"open": count_open_attempts(order_id)}


@settle.remote
def _ask_to_settle(service: seam.Client, customer_id: int, order_id: int) -> Document:
    answer = service.post(f"/internal/orders/{order_id}/settle/")
    if not answer.ok:
        raise_refusal(answer.status, answer.json())
    return answer.json()


def kept_by_service(customer_id: int) -> bool:
    """Return whether the customer's orders, with their payments, are not the monolith's to write any more."""
    return open_charge.decision(customer_id, 0, "").owner != "legacy"
