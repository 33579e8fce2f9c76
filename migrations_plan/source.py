"""The router's view of the phases."""

from collections.abc import Mapping

from migrations_plan.plan_registry import plans
from migrations_plan.recorder import Recorder
from router.api import Envelope


class PlanSnapshotSource:
    """Give the router every service's envelope, in one query."""

    def envelopes(self) -> Mapping[str, Envelope]:
        """Return the envelope in force per service with a plan; one that never moved is at its plan's first step."""
        states = Recorder().states()
        return {
            service: states[service].envelope if service in states else plan.start.envelope
            for service, plan in plans().items()
        }
