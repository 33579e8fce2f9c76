"""The router's view of the phases."""

from collections.abc import Mapping

from migrations_plan import syncing
from migrations_plan.plan_registry import plans
from migrations_plan.recorder import Recorder
from router.api import Envelope
from router.holders import Holder, Ownership


class PlanSnapshotSource:
    """Give the router every service's envelope, and who owns its data once that can move: a query each."""

    def envelopes(self) -> Mapping[str, Envelope]:
        """Return the envelope in force per service with a plan; one that never moved is at its plan's first step."""
        states = Recorder().states()
        return {
            service: states[service].envelope if service in states else plan.start.envelope
            for service, plan in plans().items()
        }

    def ownership(self) -> Mapping[str, Ownership]:
        """Return who owns the buckets of each service that has an aggregate."""
        return {service: Ownership.of(holders) for service, holders in syncing.holders().items()}

    def owner_now(self, service: str, bucket: int) -> Holder:
        """Return who owns a bucket at this moment."""
        return syncing.holder_now(service, bucket)
