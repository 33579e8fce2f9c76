"""Talk to the payment provider, which is another process and may be slow, broken or gone."""

import threading
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import requests
from django.conf import settings
from django.db import connection

from legacy_shop.payments.exceptions import CalledInsideTransaction, ProviderUnavailable
from legacy_shop.payments.ledger import Kind, charge_of
from legacy_shop.payments.models import PaymentAttempt

PATHS = {Kind.CHARGE: "/v1/charges", Kind.REFUND: "/v1/refunds"}
_local = threading.local()


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the provider is asked; nothing of it may change between two tries."""

    key: UUID
    kind: Kind
    amount_minor: int
    currency: str
    card: str
    reference: str
    """The number of the order."""
    charge: UUID | None = None
    """The charge that a refund gives back."""

    @property
    def body(self) -> dict[str, Any]:
        """Return what is sent."""
        body = {
            "amount_minor": self.amount_minor,
            "currency": self.currency,
            "card": self.card,
            "reference": self.reference,
        }
        return body if self.charge is None else {**body, "charge": str(self.charge)}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the provider decided, for good."""

    succeeded: bool
    reference: str
    failure: str = ""


def request_of(attempt: PaymentAttempt) -> Request:
    """Return what to ask for an attempt of this ledger."""
    charge = None
    if attempt.kind == Kind.REFUND:
        found = charge_of(attempt.order)
        if found is None:
            raise ProviderUnavailable(f"Refund {attempt.provider_key} has no succeeded charge to refund.", reached=True)
        charge = found.provider_key
    return Request(
        key=attempt.provider_key,
        kind=Kind(attempt.kind),
        amount_minor=int(attempt.amount * 100),
        currency=attempt.currency,
        card=attempt.card,
        reference=attempt.order.number,
        charge=charge,
    )


def ask(request: Request) -> Answer:
    """Ask the provider to carry it out; asked again with the same key it gives the same answer.

    Raises ProviderUnavailable when nothing is certain: the money may have moved or not.
    """
    refuse_inside_transaction()
    url = settings.PAYMENT_PROVIDER_URL.rstrip("/") + PATHS[request.kind]
    try:
        response = _session().post(
            url,
            json=request.body,
            headers={"Idempotency-Key": str(request.key)},
            timeout=settings.PAYMENT_PROVIDER_TIMEOUT,
            allow_redirects=False,
        )
        return _answer(response, url)
    except requests.RequestException as error:
        raise ProviderUnavailable(f"POST {url} gave no answer: {error}", reached=False) from error


def refuse_inside_transaction() -> None:
    """Raise if a transaction is open: locks must never be held while another process thinks.

    The transaction that Django's TestCase wraps around a test does not count, as for ``atomic(durable=True)``.
    """
    if any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
        raise CalledInsideTransaction(
            "The payment provider was to be called inside a database transaction, which would hold its locks for as "
            "long as the provider takes. Commit the attempt first and call run_due_attempts() after the atomic block."
        )


def _session() -> requests.Session:
    """Return this thread's session; sessions are not made to be shared between threads."""
    session: requests.Session | None = getattr(_local, "session", None)
    if session is None:
        session = requests.Session()
        session.trust_env = False  # no proxy, no netrc: the provider is where the settings say
        _local.session = session
    return session


def _answer(response: requests.Response, url: str) -> Answer:
    """Return what the response decides; everything but 200 and 402 decides nothing."""
    if response.status_code not in {200, 402}:
        raise ProviderUnavailable(f"POST {url} answered {response.status_code}: {response.text[:200]}", reached=True)
    try:
        data = response.json()
        succeeded = {200: "succeeded", 402: "failed"}[response.status_code]
        if data["status"] != succeeded:
            raise ValueError(f"status {data['status']!r} in a {response.status_code}")
        return Answer(
            succeeded=response.status_code == 200,
            reference=str(data["id"])[:64],
            failure=str(data.get("reason", ""))[:200],
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProviderUnavailable(f"POST {url} answered something unreadable: {error!r}", reached=True) from error
