"""The router's view of the phases."""

from collections.abc import Mapping

from migrations_plan import syncing
from migrations_plan.plan_registry import plans
from migrations_plan.recorder import Recorder
from router.api import Envelope
from router.holders import Holder, Ownership


class PlanSnapshotSource:
    """Give the router every service's envelope, and who owns its data once that can move: three queries."""

    def envelopes(self) -> Mapping[str, Envelope]:
        """Return the envelope in force per service with a plan; one that never moved is at its plan's first step."""
        states = Recorder().states()
        return {
            service: states[service].envelope if service in states else plan.start.envelope
            for service, plan in plans().items()
        }

    def ownership(self) -> Mapping[str, Ownership]:
        """Return who owns the buckets of each service that has an aggregate, and which are about to change hands.

        What is announced is read first: a bucket that has arrived in between is seen with the owner that it has now.
        """
        announced = syncing.announced()
        return {
            service: Ownership.of(holders, announced.get(service, ())) for service, holders in syncing.holders().items()
        }

    def owner_now(self, service: str, bucket: int) -> Holder:
        """Return who owns a bucket at this moment."""
        return syncing.holder_now(service, bucket)

    def is_behind(self, service: str, bucket: int) -> bool:
        """Return whether a change of a bucket's data has not arrived in its other home yet."""
        return syncing.is_behind(service, bucket)

    def arrived(self, written: Mapping[tuple[str, str], int]) -> bool:
        """Return whether this side's copy has these versions, by aggregate and key, or later ones."""
        return syncing.arrived(written)
