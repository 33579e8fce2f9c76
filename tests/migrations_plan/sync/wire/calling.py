"""Documents to send, and calls of a peer that gives one answer to everything."""

from collections.abc import Callable
from typing import Any

from migrations_plan.sync.messages import Document
from migrations_plan.sync.wire.client import RemoteSide
from tests.migrations_plan.sync.wire.serving import Canned, canned


def document(key: int, *, gen: int = 1, size: int = 1, **changed: Any) -> Document:
    """Return a document of about a size."""
    given = {"bucket": 3, "epoch": 1, "version": 1, "data": {"name": "x" * size, "amount": 1}, **changed}
    return Document(key=str(key), gen=gen, **given)


def outcomes(results: Any) -> list[tuple[str, str]]:
    """Return keys and outcomes."""
    return [(one.key, str(one.outcome)) for one in results]


def called(answer: Canned, call: Callable[[RemoteSide], Any], afterwards: Callable[[], None] = lambda: None) -> Any:
    """Call a peer that gives one answer to everything."""
    with canned(answer) as peer:
        try:
            return call(RemoteSide(peer, "extracted"))
        finally:
            afterwards()


def ownership(remote: RemoteSide) -> Any:
    """Ask who the side is."""
    return remote.ownership("things")
