"""Speak to the orders service as the program that looks after it: about nobody's order in particular.

What concerns an order goes through operations and seams. This is for the work that a service without a worker of its
own leaves to the monolith's.
"""

from typing import Any

import requests
from django.conf import settings

from legacy_shop.errors import ShopError
from migrations_plan.sync import aggregates
from migrations_plan.sync.capture import upkeep
from router.identity import HEADER, Identity
from router.identity.tokens import issue

SERVICE, OWN_STORE = "orders", "own"
TIMEOUT = 10.0  # seconds; it asks back, about stock and payments


class ServiceAway(ShopError):
    """The orders service gave no answer."""


def has_own_store() -> bool:
    """Return whether the service keeps orders in tables of its own by now."""
    return upkeep.installed(aggregates.find(SERVICE))


def ask(path: str, body: Any) -> Any:
    """Post to the service on its own store and return what it answers; raise ServiceAway."""
    configured = settings.STRANGLER["SERVICES"][SERVICE]
    url = configured["UPSTREAMS"][OWN_STORE].rstrip("/") + path
    token = issue(Identity(subject="monolith", kind="service"), audience=SERVICE, secret=configured["SECRET"])
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(url, json=body, headers={HEADER: token}, timeout=TIMEOUT, allow_redirects=False)
        answer.raise_for_status()
        return answer.json()
    except (requests.RequestException, ValueError) as error:
        raise ServiceAway(f"POST {url} gave no answer: {error}") from error
