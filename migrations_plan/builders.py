"""The standard phases as tables: who may be diverted in each step, what is done, what must hold."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from migrations_plan.gates import BreakerClosed, Gate, ShadowMatchRate, UpstreamErrorRate, UpstreamHealthy
from migrations_plan.operations import CheckUpstream, EnsureFlags, Operation, SetEnvelope
from migrations_plan.plan import Phase, Step
from migrations_plan.receivers import ReceiversHandled

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
