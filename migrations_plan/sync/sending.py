"""Send batches, and read the next one while one is on its way, where that saves time and costs no certainty.

What was read ahead leaves out the versions that are being sent. Each batch is acknowledged once it was answered and
before the next one leaves, so no more than one is ever in flight.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from migrations_plan.sync.errors import AnsweredInPart
from migrations_plan.sync.messages import Changes, Document, Result
from migrations_plan.sync.sides import Direction

Settle = Callable[[Sequence[Document], Sequence[Result]], None]
"""Gets documents and what became of each, to acknowledge it."""


@runtime_checkable
class ReadsAhead(Protocol):
    """A source that leaves out what is on its way."""

    def ahead(self, aggregate: str, limit: int, sent: frozenset[tuple[str, int]]) -> Changes:
        """Return what is due besides these versions."""
        ...


@runtime_checkable
class Elsewhere(Protocol):
    """A target that is reached over a network, and so from any thread."""

    elsewhere: bool


class Sender:
    """Sends the batches of one run; to be used as a context."""

    def __init__(self, aggregate: str, direction: Direction, limit: int, settle: Settle) -> None:
        self.aggregate, self.limit, self.settle = aggregate, limit, settle
        self.target = direction.target
        source = direction.source
        self.source = source if isinstance(source, ReadsAhead) and isinstance(self.target, Elsewhere) else None
        self._thread: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._thread is not None:
            self._thread.shutdown()

    def send(self, documents: tuple[Document, ...]) -> Changes | None:
        """Send a batch and settle what was answered; return the next batch if it was read meanwhile."""
        if self.source is None or len(documents) < self.limit:  # nothing is left to be read meanwhile
            self._settle(documents, lambda: self.target.apply(self.aggregate, documents))
            return None
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="strangler-sync")
        answer = self._thread.submit(self.target.apply, self.aggregate, documents)
        try:
            return self.source.ahead(self.aggregate, self.limit, versions(documents))
        finally:
            self._settle(documents, answer.result)

    def _settle(self, documents: Sequence[Document], answer: Callable[[], Sequence[Result]]) -> None:
        try:
            results = answer()
        except AnsweredInPart as part:
            known = {(one.key, one.gen) for one in part.results}
            self.settle([one for one in documents if (one.key, one.gen) in known], part.results)
            raise part.reason from None
        self.settle(documents, results)


def versions(documents: Sequence[Document]) -> frozenset[tuple[str, int]]:
    """Return what is told apart: keys and versions."""
    return frozenset((one.key, one.gen) for one in documents)
