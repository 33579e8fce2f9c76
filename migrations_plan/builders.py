"""The standard phases as tables: who may be diverted in each step, what is done, what must hold."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise

from migrations_plan.gates import BreakerClosed, DwellTime, Gate, ShadowMatchRate, UpstreamErrorRate, UpstreamHealthy
from migrations_plan.operations import CheckUpstream, EnsureFlags, Operation, SetEnvelope
from migrations_plan.plan import Phase, Step
from migrations_plan.receivers import ReceiversHandled
from migrations_plan.sync_gates import (
    BackfillDone,
    BucketsThere,
    CaptureIntact,
    NothingParked,
    SyncBackCaughtUp,
    SyncCaughtUp,
    SyncVerified,
)
from migrations_plan.sync_operations import InstallCapture, MoveBuckets, StartBackfill
from router.api import LEGACY

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
    min_reads: int = 100
    """Diverted reads wanted before a step of the cut-over is left."""
    min_writes: int = 20
    """Diverted writes, likewise."""
    max_error_rate: float = 0.02
    """The share of them that may fail, 503 while a bucket changes hands included."""
    shadow_back: ShadowMatchRate = field(default_factory=lambda: ShadowMatchRate(min_samples=500, min_rate=0.999))
    """Reads that the service answered from its own data and compared with what legacy has, at the end."""
    bake: timedelta = timedelta(days=1)
    """How long the service has to have owned everything before anything that comes after."""

    def of_sync(self, aggregate: str) -> tuple[Gate, ...]:
        """Return what must hold before ``separate.sync`` is left."""
        return (BackfillDone(aggregate=aggregate), *self._in_step(aggregate))

    def of_shadow(self, aggregate: str, store: str) -> tuple[Gate, ...]:
        """Return what must hold before ``separate.shadow`` is left."""
        return (self.shadow, *self._in_step(aggregate), BreakerClosed(store=store), UpstreamHealthy(store=store))

    def of_cutover(self, aggregate: str, store: str, percent: int) -> tuple[Gate, ...]:
        """Return what must hold before ``separate.cutover@percent`` is left."""
        return (
            BucketsThere(aggregate=aggregate, percent=percent),
            CaptureIntact(aggregate=aggregate),
            *([self._out(aggregate, 100 - percent)] if percent < 100 else []),
            self._back(aggregate, percent),
            NothingParked(aggregate=aggregate),
            self._verified(aggregate),
            UpstreamErrorRate(kind="read", min_samples=self.min_reads, max_rate=self.max_error_rate),
            UpstreamErrorRate(kind="write", min_samples=self.min_writes, max_rate=self.max_error_rate),
            BreakerClosed(store=store),
            UpstreamHealthy(store=store),
        )

    def of_bake(self, aggregate: str, store: str) -> tuple[Gate, ...]:
        """Return what must hold before anything comes after ``separate.bake``."""
        return (
            BucketsThere(aggregate=aggregate, percent=100),
            replace(self.shadow_back, store=LEGACY),
            CaptureIntact(aggregate=aggregate),
            self._back(aggregate, 100),
            NothingParked(aggregate=aggregate),
            self._verified(aggregate),
            BreakerClosed(store=store),
            DwellTime(seconds=int(self.bake.total_seconds())),
        )

    def _in_step(self, aggregate: str) -> tuple[Gate, ...]:
        return (CaptureIntact(aggregate=aggregate), self._out(aggregate, 100), self._verified(aggregate))

    def _out(self, aggregate: str, share: int) -> SyncCaughtUp:
        """Return the gate on changes made at legacy, which fewer are the less it owns."""
        samples = self.lag_samples * share // 100
        return SyncCaughtUp(aggregate=aggregate, max_lag_seconds=self.max_lag_seconds, min_samples=samples)

    def _back(self, aggregate: str, share: int) -> SyncBackCaughtUp:
        samples = self.lag_samples * share // 100
        return SyncBackCaughtUp(aggregate=aggregate, max_lag_seconds=self.max_lag_seconds, min_samples=samples)

    def _verified(self, aggregate: str) -> SyncVerified:
        return SyncVerified(aggregate=aggregate, min_compared=self.min_compared, max_age=self.verified_within)


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


def separate(
    aggregate: str,
    gates: SeparateGates = DEFAULT_SEPARATE_GATES,
    store: str = "own",
    cutover: Iterable[int] = PERCENTAGES,
) -> Phase:
    """Return the phase in which the service gets data of its own: an aggregate, kept equal in a second ``store``.

    First both homes are compared while legacy's is the one that counts; then, bucket by bucket, the service's is.
    """

    def step(name: str, title: str, operations: tuple[Operation, ...], held: tuple[Gate, ...], copies: str) -> Step:
        return Step(
            name=f"separate.{name}",
            title=title,
            reads=100,
            writes=100,
            shadow=100,
            shadow_store=copies,
            owned_store=store,
            operations=(CheckUpstream(store=store), *operations, SetEnvelope()),
            gates=held,
        )

    percentages = tuple(cutover)
    return Phase(
        name="separate",
        title="A service with data of its own",
        steps=(
            step(
                "sync",
                f"every change of {aggregate} is sent to the store {store} as well, and all that was there before",
                (InstallCapture(aggregate=aggregate), StartBackfill(aggregate=aggregate)),
                gates.of_sync(aggregate),
                copies="",
            ),
            step(
                "shadow",
                f"reads are copied to the store {store} and compared with what the client got",
                (),
                gates.of_shadow(aggregate, store),
                copies=store,
            ),
            *(
                step(
                    f"cutover@{percent}",
                    f"the service owns {percent} % of the buckets of {aggregate} and answers for them from the store "
                    f"{store}; legacy keeps a copy",
                    (_cutover(aggregate, percent, before, gates),),
                    gates.of_cutover(aggregate, store, percent),
                    copies=store,
                )
                for before, percent in pairwise((0, *percentages))
            ),
            step(
                "bake",
                f"the service has owned all of {aggregate} for a while; legacy is asked the same reads, of its copy",
                (),
                gates.of_bake(aggregate, store),
                copies=LEGACY,
            ),
        ),
    )


def _cutover(aggregate: str, percent: int, before: int, gates: SeparateGates) -> MoveBuckets:
    return MoveBuckets(
        aggregate=aggregate,
        percent=percent,
        before=before,
        verified_within=gates.verified_within,
        min_compared=gates.min_compared,
    )
