"""Have payment attempts run by the monolith, which alone talks to the payment provider."""

import logging
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from extracted.orders import shop
from extracted.orders.domain.errors import ShopUnavailable
from extracted.orders.domain.order import AttemptKind, AttemptState
from router.fences import NotOwner

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What became of an attempt of the monolith's ledger that was run."""

    kind: AttemptKind
    state: AttemptState
    settled_at: datetime | None

    @property
    def paid_at(self) -> datetime | None:
        """Return when the money of the order arrived, None if it did not."""
        charged = self.kind is AttemptKind.CHARGE and self.state is AttemptState.SUCCEEDED
        return self.settled_at if charged else None


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What the provider decided about an attempt of our own ledger, for good."""

    state: AttemptState
    reference: str
    failure: str


def run_attempt(provider_key: UUID) -> Run | None:
    """Have an attempt of the monolith's ledger run; return what became of it, None if there was no answer in time.

    Never call this in a transaction. No answer is no harm: the attempt is open in the ledger, and the monolith's
    settle task finds it there.
    """
    return _read(provider_key, None, _run)


def run_ours(provider_key: UUID, asked: dict[str, Any]) -> Decided | None:
    """Have the provider asked about an attempt of our own ledger; None if nothing is certain.

    ``asked`` is the same at each try, so that the provider knows it again by the key and moves no money twice.
    """
    return _read(provider_key, asked, _decided)


def after_the_commit(work: Callable[[], bool]) -> bool:
    """Do what settles a payment once a request's own work is committed; return whether it did.

    A fence that it meets says that the bucket has just left: its new owner settles what is open. It is no refusal of
    the request, whose work is done, so whoever watches for refusals is not to hear of it.
    """
    try:
        return Context().run(work)
    except NotOwner as moved:
        logger.warning("left to the new owner: %s", moved)
        return False


def _read(provider_key: UUID, body: Any, read: Any) -> Any:
    try:
        said = shop.post(f"/internal/payments/attempts/{provider_key}/run/", body)
        if not said.ok:
            raise ValueError(f"answered {said.status}: {said.data}")
        return read(said.data)
    except (ShopUnavailable, ValueError, KeyError, TypeError) as error:
        logger.warning("Payment attempt %s stays open: %s", provider_key, error)
        return None


def _run(said: dict[str, Any]) -> Run:
    at = said["settled_at"]
    return Run(
        kind=AttemptKind(said["kind"]),
        state=AttemptState(said["state"]),
        settled_at=None if at is None else datetime.fromisoformat(at),
    )


def _decided(said: dict[str, Any]) -> Decided | None:
    state = AttemptState(said["state"])
    if state is AttemptState.OPEN:
        return None
    return Decided(state=state, reference=said["reference"], failure=said["failure"])
