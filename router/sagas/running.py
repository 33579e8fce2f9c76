"""Run a saga: forward to the point of no return, past it in the caller's transaction, and on; or all the way back."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.db import DatabaseError, transaction

from router.routes import Key
from router.sagas import log, points
from router.sagas.errors import SagaInTransaction, SagaLost, SagaMisused
from router.sagas.log import Held, State
from router.sagas.transactions import in_transaction
from router.sagas.types import Context, SagaType
from router.transactions import open_transaction

logger = logging.getLogger("strangler.sagas")


class Run:
    """A saga that this process runs."""

    def __init__(self, kind: SagaType, held: Held) -> None:
        self.kind = kind
        self.held = held

    @property
    def id(self) -> Any:
        """Return the saga's id."""
        return self.held.id

    @property
    def results(self) -> Mapping[str, Any]:
        """Return what the steps have returned so far, by name."""
        return self.held.results

    def cross(self) -> None:
        """Pass the point of no return, in the transaction that makes what the saga is about.

        Raises SagaLost, to roll that back, if somebody has begun to undo the saga.
        """
        number = self.kind.pivot
        if number is None or self.held.step != number:
            raise SagaMisused(f"{self.kind.name} does not stand before its point of no return.")
        if not in_transaction(log.alias()):
            raise SagaInTransaction(
                f"{self.kind.name} was to pass its point of no return outside of a transaction of the database "
                f"{log.alias()!r}. Call cross() in the transaction.atomic() block that makes what it is about."
            )
        log.cross(self.held, self.kind.steps[number].name, last=number == len(self.kind.steps) - 1)
        points.passed("crossing")

    # --- forward ------------------------------------------------------------------------------------------------
    def to_the_pivot(self) -> None:
        """Do the steps before the point of no return."""
        assert self.kind.pivot is not None
        self._forward(self.kind.pivot)

    def to_the_end(self) -> None:
        """Do the steps after the point of no return."""
        self._forward(len(self.kind.steps))

    def _forward(self, end: int) -> None:
        while self.held.step < end:
            step = self.kind.step(self.held.step)
            points.passed(f"before {step.name}")
            result = self._called(step.action, step.name)
            points.passed(f"after {step.name}")
            log.advance(self.held, step.name, result, last=self.held.step == len(self.kind.steps) - 1)
            points.passed(f"noted {step.name}")

    # --- back ---------------------------------------------------------------------------------------------------
    def turn_back(self, why: Exception | None = None) -> None:
        """Decide that it is undone; raise SagaLost if it has passed the point of no return or is in other hands.

        Whether the step under way has happened is not known, so it is undone as well, unless it refused for certain.
        """
        number = self.held.step
        if number == self.kind.pivot or (why is not None and isinstance(why, self.kind.step(number).refusals)):
            number -= 1
        log.turn_back(self.held, number)
        points.passed("turned back")

    def back(self) -> None:
        """Undo the steps, last one first."""
        while self.held.state == State.COMPENSATING:
            step = self.kind.step(self.held.step)
            if step.compensation is not None:
                points.passed(f"before undoing {step.name}")
                self._called(step.compensation, step.name, undoing=True)
                points.passed(f"after undoing {step.name}")
            log.retreat(self.held, step.name, undone=step.compensation is not None)
            points.passed(f"noted undoing {step.name}")

    # --- whichever way ------------------------------------------------------------------------------------------
    def finish(self) -> bool:
        """Go on from wherever it stands to the end that is left to it; return whether it got there.

        What fails is tried again later, by whoever resumes it.
        """
        try:
            if self.held.state == State.RUNNING:
                self.turn_back()
            if self.held.state == State.COMPENSATING:
                self.back()
            elif self.held.state == State.COMMITTED:
                self.to_the_end()
        except SagaLost as lost:
            logger.info("%s", lost)
            return False
        except Exception as error:
            self._failed(error)
            return False
        return True

    def _failed(self, error: Exception) -> None:
        try:
            stuck = log.fail(self.held, f"{type(error).__name__}: {error}")
        except DatabaseError as trouble:  # its lease ends by itself
            logger.warning("%s %s goes on later: %s, after %s", self.kind.name, self.held.id, trouble, error)
            return
        saying = logger.error if stuck else logger.warning
        saying("%s %s %s: %s", self.kind.name, self.held.id, "waits for a person" if stuck else "goes on later", error)

    def _called(self, call: Callable[[Context], Any], name: str, *, undoing: bool = False) -> Any:
        alias = open_transaction()
        if alias is not None:
            raise SagaInTransaction(
                f"{self.kind.name} was to call {name} while a transaction of the database {alias!r} is open, which "
                "would hold its locks for as long as another process takes."
            )
        held = self.held
        return call(
            Context(saga=held.id, step=name, key=held.key, data=held.data, results=held.results, undoing=undoing)
        )


@contextmanager
def running(kind: SagaType, *, key: Key, data: Mapping[str, Any]) -> Iterator[Run]:
    """Run a saga around the block, which makes what it is about and calls ``cross`` in the same transaction.

    The block is entered with everything before the point of no return done. If it is left by an exception, or without
    having passed the point, the saga is undone; else its rest is done. Neither depends on this process: whatever is
    not done when it dies, somebody else does.
    """
    run = _begin(kind, key, data)
    try:
        run.to_the_pivot()
        yield run
    except Exception as error:
        _undo(run, error)
        raise
    points.passed("crossed")
    try:
        found = log.look(run.held.id, run.held.token)
    except DatabaseError as trouble:  # what it is about is committed, and that is the caller's answer
        logger.warning("%s %s goes on later: %s", run.kind.name, run.held.id, trouble)
        return
    if found is not None:
        run.held = found
        run.finish()


def enlist(kind: SagaType, *, key: Key, data: Mapping[str, Any]) -> None:
    """Write a saga without a point of no return down in the caller's transaction; it is run once that is committed.

    By us, if we live; by whoever resumes sagas if we do not.
    """
    if kind.pivot is not None:
        raise SagaMisused(f"{kind.name} has a point of no return. Use running().")
    if not transaction.get_connection(log.alias()).in_atomic_block:
        raise SagaInTransaction(f"{kind.name} was enlisted outside of a transaction of {log.alias()!r}.")
    run = Run(kind, log.create(kind, key, data, State.COMMITTED))
    transaction.on_commit(partial(_finish_enlisted, run), using=log.alias(), robust=True)


def _finish_enlisted(run: Run) -> None:
    points.passed("enlisted")
    if open_transaction() is None:  # a transaction around this one, in another database: somebody resumes it later
        run.finish()


def _begin(kind: SagaType, key: Key, data: Mapping[str, Any]) -> Run:
    if kind.pivot is None:
        raise SagaMisused(f"{kind.name} has no point of no return. Use enlist().")
    alias = open_transaction()
    if alias is not None:
        raise SagaInTransaction(f"{kind.name} was begun while a transaction of the database {alias!r} is open.")
    held = log.create(kind, key, data, State.RUNNING)
    points.passed("begun")
    return Run(kind, held)


def _undo(run: Run, error: Exception) -> None:
    """Undo the saga, unless the transaction that passed its point has been committed all the same: then go on."""
    try:
        run.turn_back(error)
    except SagaLost:
        found = log.look(run.held.id, run.held.token)
        if found is None:
            return
        run.held = found
    except DatabaseError as trouble:  # the error of the block is the one to raise; whoever resumes it undoes the saga
        logger.warning("%s %s is not undone now: %s", run.kind.name, run.held.id, trouble)
        return
    run.finish()
