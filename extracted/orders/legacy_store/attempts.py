"""Open rows in the ledger of payment attempts; only the monolith calls the provider and settles them."""

import uuid
from datetime import datetime
from uuid import UUID

from extracted.orders.domain.money import Money
from extracted.orders.domain.order import AttemptKind, AttemptState
from extracted.orders.legacy_store import models


def open_attempt(order_id: int, kind: AttemptKind, amount: Money, card: str, at: datetime) -> UUID:
    """Insert an open attempt and return the key under which the provider will be asked."""
    row = models.PaymentAttempt.objects.create(
        order_id=order_id,
        kind=kind.value,
        state=AttemptState.OPEN.value,
        amount=amount.amount,
        currency=amount.currency,
        card=card,
        provider_key=uuid.uuid4(),
        created_at=at,
    )
    return row.provider_key
