"""Have a write carried out by whoever owns its data: the one loop that requests and seams share.

A fence that refuses a write refuses all of it, so trying again elsewhere carries it out once. The owner is read anew
after each refusal, since whoever refused knew better than the snapshot; where there is none, the write waits.
"""

from time import monotonic
from typing import Generic, Protocol, TypeVar

from router import metrics, poller
from router.decide import Decision
from router.handover.errors import Cause, MetFence, Unowned
from router.handover.owners import Wait
from router.holders import Holder
from router.metrics import Outcome
from router.routes import Route
from router.steps import Steps

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

FIRST_PAUSE = 0.1
"""Seconds before a third try; each one after that waits for twice as long."""


class Write(Protocol[T_co]):
    """A write on its way."""

    @property
    def route(self) -> Route:
        """What it is: a route of the router's, or a seam's."""

    @property
    def decision(self) -> Decision:
        """Who is to carry it out, as it was decided last."""

    def attempt(self) -> Steps[T_co]:
        """Have it carried out by whoever was decided for; raise MetFence if a fence refused it, and did all of it."""

    def find_bucket(self) -> Steps[int | None]:
        """Return the bucket that it touches, None where it has no key."""

    def hand_to(self, owner: Holder) -> None:
        """Decide anew, for this owner."""

    def cannot_be_tried_again(self) -> Cause | None:
        """Return why it cannot be tried again after it was refused; None if it can."""


def carried_out(write: Write[T]) -> Steps[T]:
    """Carry a write out, once; raise Unowned if nobody may, and nothing was done."""
    return (yield from _Carrying(write).run())


class _Carrying(Generic[T]):
    """One write, until it is carried out or given up."""

    def __init__(self, write: Write[T]) -> None:
        self.write = write
        self.wait = Wait(write.route.service)
        self.refusals = 0
        self.started = monotonic()

    def run(self) -> Steps[T]:
        try:
            if self.write.decision.held:
                owner = yield from self._owner_of(self.write.decision.bucket, refused_by=None)
                self.write.hand_to(owner)
            while True:
                if self.write.decision.side == "none":
                    raise Unowned("killed")
                try:
                    return (yield from self.write.attempt())
                except MetFence as met:
                    yield from self._hand_on(met)
        except Unowned as nobody:
            self._count(Outcome.REFUSED, "none", nobody.cause)
            raise

    def _hand_on(self, met: MetFence) -> Steps[None]:
        """Find another owner than the one who has just refused, or the same if nothing has changed after a moment."""
        poller.hurry()
        refused_by: Holder = "extracted" if self.write.decision.owner == "extracted" else "legacy"
        if met.aggregate != self.write.route.service:
            raise Unowned("elsewhere")
        final = self.write.cannot_be_tried_again()
        if final is not None:
            raise Unowned(final)
        bucket = yield from self.write.find_bucket()
        bucket = bucket if met.bucket is None else met.bucket
        owner = _owner_by(met, refused_by) if bucket is None else (yield from self._owner_of(bucket, refused_by))
        self.refusals += 1
        self._count(Outcome.REDISPATCHED, owner, f"refused_by_{refused_by}")
        self.write.hand_to(owner)

    def _owner_of(self, bucket: int | None, refused_by: Holder | None) -> Steps[Holder]:
        if bucket is None:
            raise Unowned("unknown_owner")
        at_least = FIRST_PAUSE * 2 ** (self.refusals - 1) if self.refusals else 0.0
        owner = yield from self.wait.for_owner(bucket, refused_by=refused_by, at_least=at_least)
        if self.wait.held:
            self._count(Outcome.HELD, owner)
        return owner

    def _count(self, outcome: Outcome, owner: str, cause: str = "") -> None:
        route, seconds = self.write.route, monotonic() - self.started
        metrics.record(
            service=route.service,
            route=route.name,
            kind=metrics.OWNERSHIP,
            side=owner,
            outcome=outcome,
            seconds=seconds,
            cause=cause,
        )


def _owner_by(met: MetFence, refused_by: Holder) -> Holder:
    """Return the owner of data without a known bucket, as far as a refusal tells."""
    if refused_by == "legacy" and met.state == "replica":
        return "extracted"
    raise Unowned("unknown_owner")
