"""The only one that touches the control plane's rows: every change of state with its line of history, or neither."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import IntegrityError, router, transaction
from django.utils import timezone

from migrations_plan.errors import StateChanged
from migrations_plan.gates import GateResult, Outcome
from migrations_plan.models import Evidence, HistoryEntry, ServiceState
from migrations_plan.state import BEFORE_EVERYTHING, Change, Direction, HistoryLine, Kind, State
from router.api import Envelope


class Recorder:
    """Read and change states; two operators at once are decided by compare-and-swap on the version."""

    def state(self, service: str, start: Envelope) -> State:
        """Return a service's state; without a row it stands at ``start``, the first step of its plan."""
        row = ServiceState.objects.using(self._alias()).filter(service=service).first()
        return self._from_row(row) if row is not None else self._unborn(service, start)

    @staticmethod
    def now() -> datetime:
        """Return the present, as it is written into rows."""
        return timezone.now()

    def states(self) -> dict[str, State]:
        """Return every state that has a row, in one query."""
        return {row.service: self._from_row(row) for row in ServiceState.objects.all()}

    def change(self, before: State, change: Change, **values: Any) -> State:
        """Swap ``before`` for a copy with other ``values`` and write the line of history, in one transaction."""
        after = replace(before, version=before.version + 1, **values)
        with transaction.atomic(using=self._alias(), durable=True):
            if not self._swap(before, after):
                raise StateChanged(self.explain_loss(before))
            HistoryEntry.objects.using(self._alias()).create(
                service=after.service,
                version=after.version,
                at=self.now(),
                kind=change.kind.value,
                from_step=change.from_step,
                to_step=change.to_step,
                actor=change.actor,
                reason=change.reason,
                detail=change.detail,
                evidence=list(change.evidence),
            )
        return after

    def renew(self, service: str, holder: str, until: datetime) -> bool:
        """Move the end of a holder's lease; return False if it holds the service no more."""
        rows = ServiceState.objects.using(self._alias()).filter(service=service, holder=holder)
        return bool(rows.update(lease_until=until))

    def release(self, service: str, holder: str) -> None:
        """End a holder's lease without a change of state, after it lost against somebody else."""
        rows = ServiceState.objects.using(self._alias()).filter(service=service, holder=holder)
        rows.update(holder="", lease_until=None)

    def record_evidence(self, service: str, step: str, results: Iterable[tuple[GateResult, bool]]) -> None:
        """Keep what was measured when ``step`` was to be left, with whether it was overridden."""
        Evidence.objects.using(self._alias()).bulk_create(
            Evidence(
                service=service,
                step=step,
                gate=result.gate,
                outcome=result.outcome.value,
                samples=result.samples,
                minimum=result.minimum,
                detail=result.detail,
                overridden=overridden,
                measured_at=result.measured_at,
                expires_at=result.expires_at,
            )
            for result, overridden in results
        )

    def evidence(self, service: str, step: str, since: datetime) -> Mapping[str, tuple[GateResult, bool]]:
        """Return the latest result of every gate of a step measured after ``since``, with whether it was overridden."""
        rows = Evidence.objects.filter(service=service, step=step, measured_at__gte=since).order_by("measured_at", "id")
        return {
            row.gate: (
                GateResult(
                    gate=row.gate,
                    outcome=Outcome(row.outcome),
                    samples=row.samples,
                    minimum=row.minimum,
                    detail=row.detail,
                    measured_at=row.measured_at,
                    expires_at=row.expires_at,
                ),
                row.overridden,
            )
            for row in rows
        }

    def history(self, service: str, limit: int | None = None) -> tuple[HistoryLine, ...]:
        """Return a service's history, newest first."""
        rows = HistoryEntry.objects.filter(service=service)[:limit]
        return tuple(
            HistoryLine(
                service=row.service,
                version=row.version,
                at=row.at,
                change=Change(
                    kind=Kind(row.kind),
                    actor=row.actor,
                    from_step=row.from_step,
                    to_step=row.to_step,
                    reason=row.reason,
                    detail=row.detail,
                    evidence=tuple(row.evidence),
                ),
            )
            for row in rows
        )

    def explain_loss(self, before: State) -> str:
        """Return who was quicker than the holder of ``before``, and when."""
        last = HistoryEntry.objects.using(self._alias()).filter(service=before.service).first()
        if last is None:
            return f"The state of {before.service} is not the one that was read; read it again with phase status."
        way = f" ({last.from_step} -> {last.to_step})" if last.to_step else ""
        return (
            f"{last.actor} changed {before.service} at {last.at:%Y-%m-%d %H:%M:%S} UTC: {last.kind}{way}, version "
            f"{last.version}. This command had read version {before.version}, so it stopped. "
            f"Look at `phase status {before.service}` and decide again."
        )

    def _swap(self, before: State, after: State) -> bool:
        values = self._to_values(after)
        if before.version:
            rows = ServiceState.objects.using(self._alias()).filter(service=before.service, version=before.version)
            return bool(rows.update(**values))
        try:
            with transaction.atomic(using=self._alias()):
                ServiceState.objects.using(self._alias()).create(service=after.service, **values)
        except IntegrityError:
            return False
        return True

    @staticmethod
    def _alias() -> str:
        return router.db_for_write(ServiceState)

    @staticmethod
    def _unborn(service: str, start: Envelope) -> State:
        return State(service=service, step=start.step, envelope=start, entered_at=BEFORE_EVERYTHING)

    @staticmethod
    def _from_row(row: ServiceState) -> State:
        return State(
            service=row.service,
            step=row.step,
            envelope=Envelope(
                step=row.step,
                reads=row.reads,
                writes=row.writes,
                shadow=row.shadow,
                store=row.store,
                shadow_store=row.shadow_store,
                owned_store=row.owned_store,
                paused=row.paused,
            ),
            version=row.version,
            paused=row.paused,
            entered_at=row.entered_at,
            moving_to=row.moving_to,
            direction=Direction(row.moving_direction) if row.moving_direction else None,
            operations_done=row.operations_done,
            holder=row.holder,
            lease_until=row.lease_until,
        )

    @staticmethod
    def _to_values(state: State) -> dict[str, Any]:
        return {
            "step": state.step,
            "reads": state.envelope.reads,
            "writes": state.envelope.writes,
            "shadow": state.envelope.shadow,
            "store": state.envelope.store,
            "shadow_store": state.envelope.shadow_store,
            "owned_store": state.envelope.owned_store,
            "version": state.version,
            "paused": state.paused,
            "entered_at": state.entered_at,
            "moving_to": state.moving_to,
            "moving_direction": state.direction or "",
            "operations_done": state.operations_done,
            "holder": state.holder,
            "lease_until": state.lease_until,
        }
