"""Hand a committed payment attempt to the monolith, which alone talks to the payment provider."""

import logging
from uuid import UUID

import requests
from django.conf import settings

from router.identity import HEADER, Identity
from router.identity.tokens import issue
from router.service.conf import conf

logger = logging.getLogger(__name__)

AUDIENCE = "monolith"


def run_attempt(provider_key: UUID) -> str | None:
    """Ask the monolith to run the attempt and return its state, None if it gave no answer in time.

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
        state = answer.json()["state"]
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        logger.warning("Payment attempt %s stays open: %s did not run it (%s).", provider_key, url, error)
        return None
    return str(state)
