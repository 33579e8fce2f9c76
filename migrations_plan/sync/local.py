"""This program's own side, without a network in between."""

from migrations_plan.sync import apply, changes, digests, ownership
from migrations_plan.sync.aggregates import Aggregate, find
from migrations_plan.sync.conf import conf
from migrations_plan.sync.messages import (
    Again,
    Boundary,
    BucketState,
    Changes,
    Digest,
    Document,
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

    def changes(self, aggregate: str, limit: int) -> Changes:
        """Return what has not reached the other side."""
        return changes.read(self._find(aggregate), limit)

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

    def boundaries(self, aggregate: str, size: int) -> tuple[Boundary, ...]:
        """Cut the keys into ranges."""
        return digests.boundaries(self._find(aggregate), size)

    def repair(self, aggregate: str, keys: tuple[Again, ...]) -> int:
        """Mark aggregates to be sent again."""
        return digests.repair(self._find(aggregate), keys)

    def _find(self, name: str) -> Aggregate:
        return self._declared[name] if name in self._declared else find(name)
