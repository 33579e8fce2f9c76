"""Operations for tests: each side says which one it is, and operations are forgotten afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from router import seam
from router.seam import operations


class Refused(Exception):
    """What legacy says no with."""


class NotThere(Exception):
    """What both sides say of what does not exist."""


def refusal_of(error: Exception) -> tuple[int, Any] | None:
    """Say what the service answers where legacy raises."""
    statuses = {Refused: 409, NotThere: 404}
    status = statuses.get(type(error))
    return None if status is None else (status, {"code": "no", "detail": str(error)})


def raise_for(answer: seam.Answer) -> None:
    """Raise what legacy would."""
    if not answer.ok:
        kind = {409: Refused, 404: NotThere}[answer.status]
        raise kind(answer.json()["detail"])


@contextmanager
def forgotten_afterwards() -> Iterator[None]:
    """Let operations be declared for the length of the block."""
    before = dict(operations._operations)
    try:
        yield
    finally:
        operations._operations.clear()
        operations._operations.update(before)
