"""Ask the monolith, on its internal listener, for what stays with it: stock, carts, prices, the payment provider."""

import logging
from dataclasses import dataclass
from typing import Any

import requests
from django.conf import settings

from extracted.orders.domain.errors import ShopUnavailable
from router.identity import HEADER, Identity
from router.identity.tokens import issue
from router.service.conf import conf
from router.service.dryrun import refuse_outside

logger = logging.getLogger(__name__)

AUDIENCE = "monolith"


@dataclass(frozen=True, kw_only=True)
class Said:
    """What the monolith answered; it did answer, whatever it thinks of the request."""

    status: int
    data: Any

    @property
    def ok(self) -> bool:
        """Whether it did what it was asked."""
        return self.status < 400


def post(path: str, body: Any = None) -> Said:
    """Post to the internal listener; raise ShopUnavailable where it is not known what became of the request.

    Never call this in a transaction: its locks would be held for as long as another process takes.
    """
    service = conf()
    url = settings.SHOP_INTERNAL_URL.rstrip("/") + path
    refuse_outside(url)
    token = issue(Identity(subject=service.name, kind="service"), audience=AUDIENCE, secret=service.secret)
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(
                url, json=body, headers={HEADER: token}, timeout=settings.SHOP_INTERNAL_TIMEOUT, allow_redirects=False
            )
        if answer.status_code >= 500:
            raise ShopUnavailable(f"POST {url} answered {answer.status_code}: {answer.text[:200]}")
        return Said(status=answer.status_code, data=answer.json())
    except (requests.RequestException, ValueError) as error:
        raise ShopUnavailable(f"POST {url} gave no answer: {error}") from error
