"""This program's own side, without a network in between."""

from migrations_plan.sync import apply, changes, digests, fitness, ownership, rehearsal
from migrations_plan.sync.aggregates import Aggregate, find
from migrations_plan.sync.conf import conf
from migrations_plan.sync.messages import (
    Again,
    Boundary,
    BucketLook,
    BucketState,
    Change,
    Changes,
    Digest,
    Document,
    Fitness,
    Held,
    Result,
    Sent,
)


class LocalSide:
    """The ``Side`` over this program's own database; ``aggregate`` names one that is declared here."""

    def __init__(self, name: str | None = None, *declared: Aggregate) -> None:
        self._name = name
        self._declared = {aggregate.name: aggregate for aggregate in declared}

    @property
    def name(self) -> str:
        """Return which side this is."""
        return self._name or conf().side

    def changes(self, aggregate: str, limit: int, buckets: tuple[int, ...] = ()) -> Changes:
        """Return what has not reached the other side."""
        return changes.read(self._find(aggregate), limit, buckets)

    def ahead(self, aggregate: str, limit: int, sent: frozenset[tuple[str, int]]) -> Changes:
        """Return what else has not reached the other side, while these versions are on their way."""
        return changes.read_ahead(self._find(aggregate), limit, sent)

    def apply(self, aggregate: str, documents: tuple[Document, ...]) -> tuple[Result, ...]:
        """Make this side equal to the documents."""
        return apply.apply(self._find(aggregate), documents)

    def ack(self, aggregate: str, sent: tuple[Sent, ...], held: tuple[Held, ...]) -> None:
        """Note what the other side has, and what it could not take yet."""
        changes.acknowledge(self._find(aggregate), sent, held)

    def digest(self, aggregate: str, boundary: Boundary, *, detail: bool, keys: tuple[str, ...] = ()) -> Digest:
        """Return what this side holds."""
        return digests.digest(self._find(aggregate), boundary, detail=detail, keys=keys)

    def ownership(self, aggregate: str) -> tuple[BucketState, ...]:
        """Return who this side is to each bucket."""
        return ownership.states(self._find(aggregate))

    def look(self, aggregate: str, buckets: tuple[int, ...]) -> tuple[BucketLook, ...]:
        """Return who this side is to these buckets, with what is marked and under way in them."""
        return ownership.look(self._find(aggregate), buckets)

    def change(self, aggregate: str, change: Change) -> bool:
        """Swap who this side is to a bucket."""
        old, new = (change.old.state, change.old.epoch), (change.new.state, change.new.epoch)
        return ownership.change(self._find(aggregate), change.bucket, old, new, settle=change.settle)

    def fitness(self, aggregate: str) -> Fitness:
        """Return what keeps this side from owning buckets."""
        return fitness.of(self._find(aggregate))

    def documents(self, aggregate: str, keys: tuple[str, ...]) -> tuple[Document, ...]:
        """Return documents as they are here."""
        return rehearsal.documents(self._find(aggregate), keys)

    def rehearse(self, aggregate: str, documents: tuple[Document, ...]) -> tuple[Result, ...]:
        """Try to apply documents, and roll it back."""
        return rehearsal.rehearse(self._find(aggregate), documents)

    def boundaries(self, aggregate: str, size: int) -> tuple[Boundary, ...]:
        """Cut the keys into ranges."""
        return digests.boundaries(self._find(aggregate), size)

    def repair(self, aggregate: str, keys: tuple[Again, ...]) -> int:
        """Mark aggregates to be sent again."""
        return digests.repair(self._find(aggregate), keys)

    def _find(self, name: str) -> Aggregate:
        return self._declared[name] if name in self._declared else find(name)
