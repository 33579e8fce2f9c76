"""Open rows in the ledger of payment attempts; only the monolith calls the provider and settles them."""

import uuid
from datetime import datetime

from extracted.orders.domain.money import Money
from extracted.orders.domain.order import AttemptKind, AttemptState
from extracted.orders.legacy_store import models


def open_attempt(order_id: int, kind: AttemptKind, amount: Money, card: str, at: datetime) -> uuid.UUID:
    """Insert an open attempt; return its new key, under which the provider will be asked."""
    key = uuid.uuid4()
    models.PaymentAttempt.objects.create(
        order_id=order_id,
        kind=kind.value,
        state=AttemptState.OPEN.value,
        amount=amount.amount,
        currency=amount.currency,
        card=card,
        provider_key=key,
        created_at=at,
    )
    return key
