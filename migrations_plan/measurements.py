"""The real numbers for gates: what the router measured."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from django.utils import timezone

from migrations_plan import syncing
from migrations_plan.gates import Calls, Comparisons, HealthReport
from migrations_plan.listeners import Inventory, inventory
from migrations_plan.standing import Check, Homecoming, SyncStanding, Verified
from migrations_plan.sync.events.handlers import handlers
from router import api
from router.exceptions import StranglerError

TAKEN_OVER = frozenset({"fallback_not_sent", "fallback_failed", "fallback_claimed", "unavailable"})
"""What became of diverted requests that the service did not answer; they are counted on legacy's side."""
BADLY_ANSWERED = frozenset({"server_error", "unavailable", "replayed"})
"""What counts as the service's failure on its own side; a stored answer was replayed because it gave none in time."""
FAILED = "(error"
"""How a field is called that is none, but a way in which the service failed; the match rate counts those."""
BREAKER_MEMORY = timedelta(seconds=60)
"""A breaker that is open says so every few seconds while it is asked. One that has been silent for longer belongs to a
process that ended or that nobody asks, and proves nothing."""


class RouterMeasurements:
    """Ask the router's public face, which adds up what all processes counted, and sync's."""

    def now(self) -> datetime:
        """Return the present, aware and in UTC."""
        return timezone.now()

    def comparisons(self, service: str, store: str, since: datetime) -> Comparisons:
        """Return the comparisons with a store made since ``since``; errors of the new side are no matches."""
        found = api.shadow_summary(service, since, store=store, examples=0)
        routes = api.shadow_verdicts(service, since, store=store)
        return Comparisons(
            compared=found.compared,
            matched=found.matched,
            dropped=sum(found.dropped.values()),
            failing=tuple(
                f"{one.counts.route}: {field}"
                for one in routes
                for field in one.failing
                if not field.startswith(FAILED)
            ),
            noisy=tuple(f"{one.counts.route}: {field}" for one in routes for field in one.proposals),
            worst=tuple(f"{counted.field} ({counted.count})" for counted in found.worst_fields),
        )

    def calls(self, service: str, kind: str, since: datetime) -> Calls:
        """Return the diverted requests of a kind since ``since``, and how many the service failed."""
        found = api.traffic(service, since)
        own = found.of(kind, "extracted")
        taken_over = sum(n for outcome, n in found.of(kind, "legacy").outcomes.items() if outcome in TAKEN_OVER)
        failed = sum(n for outcome, n in own.outcomes.items() if outcome in BADLY_ANSWERED)
        return Calls(total=own.requests + taken_over, failed=failed + taken_over)

    def breakers(self, service: str, store: str) -> Mapping[str, str]:
        """Return the state of the store's breakers per process, as far as they were heard of lately."""
        oldest = self.now() - BREAKER_MEMORY
        return {
            f"{found.upstream} in {found.process}": found.state
            for found in api.breaker_states(service)
            if found.upstream.removeprefix(f"{service}.").split(".")[0] == store
            and (found.state == "closed" or found.since >= oldest)
        }

    def health(self, service: str, store: str) -> HealthReport:
        """Ask the upstream whether it is ready."""
        try:
            found = api.upstream_health(service, store)
        except StranglerError as error:
            return HealthReport(ok=False, detail=str(error))
        return HealthReport(ok=found.ok, detail=f"{found.detail}.")

    def receivers(self, models: Sequence[str], signals: Sequence[str]) -> Inventory:
        """Return who listens in this process; the command and the admin see what the shop's own processes see."""
        return inventory(models, signals)

    def event_handlers(self) -> frozenset[str]:
        """Return the names of the handlers that this program declares."""
        return frozenset(handler.name for handler in handlers())

    def sync(self, aggregate: str) -> SyncStanding:
        """Return how sync of an aggregate stands, as this side's database has it."""
        return syncing.standing(aggregate)

    def verification(self, aggregate: str) -> Verified | None:
        """Return what the last finished comparison of both sides found."""
        return syncing.verification(aggregate)

    def peer(self, aggregate: str) -> HealthReport:
        """Ask the other side of an aggregate who it is to each bucket."""
        return syncing.peer(aggregate)

    def ready_to_move(
        self, aggregate: str, buckets: Collection[int], *, verified_within: timedelta, min_compared: int
    ) -> tuple[Check, ...]:
        """Ask both sides what has to hold before those of the buckets that are at legacy go to the service."""
        return syncing.ready_to_move(aggregate, buckets, verified_within=verified_within, min_compared=min_compared)

    def homecoming(self, aggregate: str, buckets: Collection[int]) -> Homecoming:
        """Ask both sides what bringing those of the buckets that are away home takes, and would lose."""
        return syncing.homecoming(aggregate, buckets)
