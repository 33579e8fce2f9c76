"""Go on with sagas whose process has died, or that others could not finish."""

import logging
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import DatabaseError

from router.sagas import log
from router.sagas.errors import UnknownSaga
from router.sagas.running import Run
from router.sagas.types import find

logger = logging.getLogger("strangler.sagas")

BATCH = 50


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was done for the sagas that were found."""

    found: int = 0
    finished: int = 0
    """Done, or undone."""

    @property
    def left(self) -> int:
        """Return how many go on later, or are in other hands."""
        return self.found - self.finished

    def __str__(self) -> str:
        return f"{self.found} sagas found, {self.finished} finished, {self.left} left for later"


def resume_due(limit: int = BATCH) -> Report:
    """Go on with everything whose time has come: forward past the point of no return, back before it."""
    return _resume(log.due(limit), by_hand=False)


def resume_by_hand(sagas: Iterable[uuid.UUID]) -> Report:
    """Try these again at once, also those that were given up; raise UnknownSaga for an id that there is not."""
    wanted = [log.find(saga).pk for saga in sagas]
    return _resume(wanted, by_hand=True)


def _resume(sagas: list[uuid.UUID], *, by_hand: bool) -> Report:
    finished = sum(_go_on(saga, by_hand=by_hand) for saga in sagas)
    return Report(found=len(sagas), finished=finished)


def _go_on(saga: uuid.UUID, *, by_hand: bool) -> bool:
    try:
        held = log.take(saga, by_hand=by_hand)
    except DatabaseError as error:
        logger.warning("saga %s cannot be taken over now: %s", saga, error)
        return False
    if held is None:
        return False
    try:
        kind = find(held.name)
    except UnknownSaga as unknown:
        log.fail(held, str(unknown))
        logger.error("saga %s: %s", saga, unknown)
        return False
    return Run(kind, held).finish()
