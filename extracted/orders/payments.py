"""Hand a committed payment attempt to the monolith, which alone talks to the payment provider."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import requests
from django.conf import settings

from extracted.orders.domain.order import AttemptKind, AttemptState
from router.identity import HEADER, Identity
from router.identity.tokens import issue
from router.service.conf import conf

logger = logging.getLogger(__name__)

AUDIENCE = "monolith"


@dataclass(frozen=True, kw_only=True)
class Run:
    """What became of an attempt that was run."""

    kind: AttemptKind
    state: AttemptState
    settled_at: datetime | None

    @property
    def paid_at(self) -> datetime | None:
        """Return when the money of the order arrived, None if it did not."""
        charged = self.kind is AttemptKind.CHARGE and self.state is AttemptState.SUCCEEDED
        return self.settled_at if charged else None


def run_attempt(provider_key: UUID) -> Run | None:
    """Ask the monolith to run the attempt and return what became of it, None if it gave no answer in time.

    Never call this in a transaction. No answer is no harm: the attempt is open in the ledger, and the monolith's
    settle task finds it there.
    """
    url = f"{settings.SHOP_INTERNAL_URL.rstrip('/')}/internal/payments/attempts/{provider_key}/run/"
    service = conf()
    token = issue(Identity(subject=service.name, kind="service"), audience=AUDIENCE, secret=service.secret)
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(url, headers={HEADER: token}, timeout=settings.SHOP_INTERNAL_TIMEOUT)
        answer.raise_for_status()
        return _run(answer.json())
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        logger.warning("Payment attempt %s stays open: %s did not run it (%s).", provider_key, url, error)
        return None


def _run(said: dict[str, Any]) -> Run:
    at = said["settled_at"]
    return Run(
        kind=AttemptKind(said["kind"]),
        state=AttemptState(said["state"]),
        settled_at=None if at is None else datetime.fromisoformat(at),
    )
