"""Why a write was not carried out where it was tried, and why nobody can be found who would."""

from typing import Literal, TypeAlias

from router.exceptions import StranglerError
from router.fences import NotOwner

Cause: TypeAlias = Literal[
    "changing_hands",
    "too_many",
    "not_replayable",
    "elsewhere",
    "unknown_owner",
    "killed",
    "in_transaction",
    "body_not_kept",
]


class MetFence(StranglerError):
    """The write met a fence: whoever was asked does not own the data, and did nothing."""

    def __init__(self, aggregate: str, *, bucket: int | None = None, state: str = "") -> None:
        super().__init__(f"Whoever was asked does not own that data of {aggregate}.")
        self.aggregate = aggregate
        self.bucket = bucket
        """None where it is not known."""
        self.state = state
        """``replica`` or ``frozen``; empty where it is not known."""

    @classmethod
    def of(cls, met: NotOwner) -> "MetFence":
        """Return what a fence of this process's own database has refused."""
        return cls(met.aggregate, bucket=met.bucket, state=met.state)


SENTENCES: dict[Cause, str] = {
    "changing_hands": "The data is changing hands, and nobody owned it in time.",
    "too_many": "The data is changing hands, and too many requests wait for it already.",
    "not_replayable": "The data has changed hands since the request was sent on its way.",
    "body_not_kept": "The data has changed hands, and the body was too long to be kept for a second try.",
    "elsewhere": "The request would change data that has moved to another service.",
    "unknown_owner": "Nobody can tell who owns the data that the request would change.",
    "killed": "The service that owns the data is switched off.",
    "in_transaction": "The data is changing hands, and nothing waits for that inside a transaction.",
}


class Unowned(StranglerError):
    """Nobody can be asked to carry out the write now. Nothing was done; the same request may be sent again."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(SENTENCES[cause])
        self.cause = cause
