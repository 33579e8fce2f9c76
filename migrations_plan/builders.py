"""The standard phases as tables: who may be diverted in each step, what is done, what must hold."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from migrations_plan.gates import BreakerClosed, Gate, ShadowMatchRate, UpstreamErrorRate, UpstreamHealthy
from migrations_plan.operations import CheckUpstream, EnsureFlags, Operation, SetEnvelope
from migrations_plan.plan import Phase, Step
from migrations_plan.receivers import ReceiversHandled
from migrations_plan.sync_gates import BackfillDone, CaptureIntact, SyncCaughtUp, SyncVerified
from migrations_plan.sync_operations import InstallCapture, StartBackfill

PERCENTAGES = (1, 10, 50, 100)
ENTER: tuple[Operation, ...] = (CheckUpstream(), EnsureFlags(), SetEnvelope())
GROW: tuple[Operation, ...] = (CheckUpstream(), SetEnvelope())


@dataclass(frozen=True, kw_only=True)
class SharedGates:
    """How much proof the shared phase asks for; a busy shop wants more than these, a quiet one less."""

    shadow: ShadowMatchRate = field(default_factory=lambda: ShadowMatchRate(min_samples=500, min_rate=0.995))
    """Before the first read is diverted."""
    drift: ShadowMatchRate = field(default_factory=lambda: ShadowMatchRate(min_samples=200, min_rate=0.99))
    """While some reads are still answered by legacy and compared."""
    read_samples: Mapping[int, int] = field(default_factory=lambda: {1: 20, 10: 100, 50: 300, 100: 500})
    """Diverted reads wanted before a step is left, by its percentage; in between the next lower one counts."""
    write_samples: Mapping[int, int] = field(default_factory=lambda: {1: 10, 10: 30, 50: 100, 100: 200})
    """Diverted writes wanted, likewise."""
    max_error_rate: float = 0.02
    """The share of diverted requests that may fail at the service, whoever answered them in the end."""

    def of_reads(self, percent: int) -> tuple[Gate, ...]:
        """Return what must hold before ``shared.reads@percent`` is left."""
        compared: tuple[Gate, ...] = (self.drift,) if percent < 100 else ()
        return (*compared, self._errors("read", percent, self.read_samples), BreakerClosed(), UpstreamHealthy())

    def of_writes(self, percent: int) -> tuple[Gate, ...]:
        """Return what must hold before ``shared.writes@percent`` is left."""
        return (self._errors("write", percent, self.write_samples), BreakerClosed(), UpstreamHealthy())

    def _errors(self, kind: str, percent: int, samples: Mapping[int, int]) -> UpstreamErrorRate:
        reached = [number for number in sorted(samples) if number <= percent]
        wanted = samples[reached[-1]] if reached else min(samples.values(), default=1)
        return UpstreamErrorRate(kind=kind, min_samples=wanted, max_rate=self.max_error_rate)


DEFAULT_GATES = SharedGates()


@dataclass(frozen=True, kw_only=True)
class SeparateGates:
    """How much proof it takes that a second home of the data is as good as the first."""

    max_lag_seconds: float = 2.0
    """Within which 99 % of the changes have to arrive."""
    lag_samples: int = 100
    """Changes wanted in the last five minutes to say so."""
    min_compared: int = 1
    """Aggregates that a verification has to have compared, row by row on both sides."""
    verified_within: timedelta = timedelta(minutes=15)
    """How old a verification may be."""
    shadow: ShadowMatchRate = field(default_factory=lambda: ShadowMatchRate(min_samples=500, min_rate=0.999))
    """Reads that were answered from the first home and compared with the second."""

    def of_sync(self, aggregate: str) -> tuple[Gate, ...]:
        """Return what must hold before ``separate.sync`` is left."""
        return (BackfillDone(aggregate=aggregate), *self._in_step(aggregate))

    def of_shadow(self, aggregate: str, store: str) -> tuple[Gate, ...]:
        """Return what must hold before ``separate.shadow`` is left."""
        return (self.shadow, *self._in_step(aggregate), BreakerClosed(store=store), UpstreamHealthy(store=store))

    def _in_step(self, aggregate: str) -> tuple[Gate, ...]:
        caught_up = SyncCaughtUp(
            aggregate=aggregate, max_lag_seconds=self.max_lag_seconds, min_samples=self.lag_samples
        )
        verified = SyncVerified(aggregate=aggregate, min_compared=self.min_compared, max_age=self.verified_within)
        return (CaptureIntact(aggregate=aggregate), caught_up, verified)


DEFAULT_SEPARATE_GATES = SeparateGates()


def monolith() -> Phase:
    """Return the phase in which nothing has been moved yet."""
    return Phase(
        name="monolith",
        title="The monolith as it was",
        steps=(Step(name="monolith", title="the monolith answers everything"),),
    )


def shared(
    reads: Iterable[int] = PERCENTAGES,
    writes: Iterable[int] = PERCENTAGES,
    gates: SharedGates = DEFAULT_GATES,
    receivers: ReceiversHandled | None = None,
) -> Phase:
    """Return the phase in which the service works on the monolith's own database.

    ``receivers`` has to hold before the first write is diverted: from then on signals are sent for some orders only.
    """
    compare = Step(
        name="shared.shadow",
        title="legacy answers; reads are copied to the service and compared",
        shadow=100,
        operations=ENTER,
        gates=(gates.shadow, BreakerClosed(), UpstreamHealthy()),
    )
    read = [
        Step(
            name=f"shared.reads@{percent}",
            title=f"the service answers the reads of {percent} % of the buckets",
            reads=percent,
            shadow=100,
            operations=GROW,
            gates=gates.of_reads(percent),
        )
        for percent in reads
    ]
    write = [
        Step(
            name=f"shared.writes@{percent}",
            title=f"the service answers the writes of {percent} % of the buckets as well",
            reads=100,
            writes=percent,
            shadow=100,
            operations=GROW,
            gates=gates.of_writes(percent),
        )
        for percent in writes
    ]
    before = [compare, *read]
    if receivers is not None:
        before[-1] = replace(before[-1], gates=(*before[-1].gates, receivers))
    return Phase(name="shared", title="A service on the shared database", steps=(*before, *write))


def separate(aggregate: str, gates: SeparateGates = DEFAULT_SEPARATE_GATES, store: str = "own") -> Phase:
    """Return the phase in which the service gets data of its own: an aggregate, kept equal in a second ``store``.

    So far it goes as far as comparing: the service answers from the monolith's database, as at the end of ``shared()``.
    """
    sync = Step(
        name="separate.sync",
        title=f"every change of {aggregate} is sent to the store {store} as well, and all that was there before",
        reads=100,
        writes=100,
        shadow=100,
        operations=(
            CheckUpstream(store=store),
            InstallCapture(aggregate=aggregate),
            StartBackfill(aggregate=aggregate),
            SetEnvelope(),
        ),
        gates=gates.of_sync(aggregate),
    )
    compare = Step(
        name="separate.shadow",
        title=f"reads are copied to the store {store} and compared with what the client got",
        reads=100,
        writes=100,
        shadow=100,
        shadow_store=store,
        operations=(CheckUpstream(store=store), SetEnvelope()),
        gates=gates.of_shadow(aggregate, store),
    )
    return Phase(name="separate", title="A service with data of its own", steps=(sync, compare))
