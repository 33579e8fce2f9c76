"""Read through a seam: from the service if it is due, from legacy where it does not answer, from both to compare."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from router.conf import conf
from router.decide import Decision
from router.diversion import NO_ANSWER, NOT_SENT, code_of
from router.handover import own_writes
from router.idempotency.guard import JSON, encode
from router.metrics import Outcome
from router.seam.client import Client, Transport
from router.seam.errors import SeamMisused
from router.seam.transports import guarded, live, shadowing
from router.shadow import pool
from router.shadow.compare import Answer
from router.shadow.following import behind
from router.shadow.monolith import reading
from router.shadow.runner import LEGACY, Ask, Job
from router.shadow.yielding import giving_way
from router.shadowing import not_compared
from router.transactions import open_transaction

if TYPE_CHECKING:
    from router.seam.operations import ReadSeam

logger = logging.getLogger("router")

R = TypeVar("R")
Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]


def run(operation: "ReadSeam[..., R]", decision: Decision, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> R:
    """Carry out a read that the service is to answer, or that is compared."""
    started = monotonic()
    if decision.side == "legacy":
        return _compared(operation, decision, (args, kwargs), started)
    if open_transaction() is not None:
        # A service may not be waited for while rows are locked; legacy reads the same data, or its copy of it.
        if decision.has_left:
            own_writes.catch_up(operation.label)
        return _from_legacy(operation, (args, kwargs), Outcome.OK, started)
    identity = operation.identity(args, kwargs)
    client = Client(operation.label, live(decision.service, decision.store, identity), writes=False)
    try:
        result = operation.ask(client, args, kwargs)
    except SeamMisused:
        raise
    except Exception as error:
        why = client.failure or _breakage(operation, client, error)
        if why is not None:
            return _fallback(operation, decision, why, (args, kwargs), started)
        operation.record("extracted", Outcome.CLIENT_ERROR, started)
        _submit(operation, decision, (args, kwargs), partial(_refusal, operation, error))
        raise
    if client.failure is not None:  # the remote function swallowed it
        return _fallback(operation, decision, client.failure, (args, kwargs), started)
    operation.record("extracted", Outcome.OK, started)
    _submit(operation, decision, (args, kwargs), partial(_answer, operation, result))
    return result


def _breakage(operation: "ReadSeam[..., R]", client: Client, error: Exception) -> Exception | None:
    """Return the error if the remote function could make nothing of a good answer; a refusal is none."""
    refused = operation.refused(error) is not None or (client.answered is not None and not client.answered.ok)
    return None if refused else error


def _fallback(operation: "ReadSeam[..., R]", decision: Decision, why: Exception, asked: Arguments, started: float) -> R:
    if decision.shadow:
        not_compared(decision, "fallback")
    if decision.has_left:
        own_writes.catch_up(operation.label)
    code = code_of(why) if isinstance(why, NO_ANSWER) else "unusable"
    logger.warning("%s is answered by legacy (%s): %r", operation.label, code, why)
    outcome = Outcome.FALLBACK_NOT_SENT if isinstance(why, NOT_SENT) else Outcome.FALLBACK_FAILED
    return _from_legacy(operation, asked, outcome, started)


def _from_legacy(operation: "ReadSeam[..., R]", asked: Arguments, outcome: Outcome, started: float) -> R:
    args, kwargs = asked
    try:
        result = operation.legacy(*args, **kwargs)
    except Exception as error:
        operation.record("legacy", outcome if outcome is not Outcome.OK else operation.outcome_of(error), started)
        raise
    operation.record("legacy", outcome, started)
    return result


def _compared(operation: "ReadSeam[..., R]", decision: Decision, asked: Arguments, started: float) -> R:
    args, kwargs = asked
    try:
        result = operation.legacy(*args, **kwargs)
    except Exception as error:
        operation.record("legacy", operation.outcome_of(error), started)
        _submit(operation, decision, asked, partial(_refusal, operation, error))
        raise
    operation.record("legacy", Outcome.OK, started)
    _submit(operation, decision, asked, partial(_answer, operation, result))
    return result


def _submit(
    operation: "ReadSeam[..., R]", decision: Decision, asked: Arguments, given: Callable[[], Answer | None]
) -> None:
    """Queue the comparison, if there is to be one; the caller has its result whatever goes wrong.

    What was read inside a transaction may show changes that nobody else can see yet, and is not compared.
    """
    if not decision.shadow or open_transaction() is not None:
        return
    try:
        answered = given()
        if answered is None:
            return
        service, store = decision.service, decision.store
        args, kwargs = asked
        ask_copy: Ask
        if decision.shadow_store == LEGACY:
            ask_copy = partial(_again_reading, operation, decision, asked)
        else:
            copy = shadowing(service, decision.shadow_store, operation.identity(args, kwargs))
            ask_copy = partial(_asked, operation, copy, asked)
        by_legacy = decision.side == "legacy"
        pool.submit(
            Job(
                service=service,
                store=decision.shadow_store,
                route=decision.route,
                method="SEAM",
                path=f"{operation.label} bucket {decision.bucket}",
                given=answered,
                ask_copy=ask_copy,
                ask_again=partial(_again if by_legacy else _again_from, operation, decision, asked),
                answered_by=LEGACY if by_legacy else store,
                follows=decision.compares_stores,
                behind=behind(decision),
                patience=conf().shadow.patience_seconds,
                rules=operation.route.compare,
            )
        )
    except Exception:
        logger.exception("%s could not be shadowed", operation.label)


def _asked(operation: "ReadSeam[..., R]", transport: Transport, asked: Arguments) -> Answer:
    client, (args, kwargs) = Client(operation.label, transport, writes=False), asked
    try:
        result = operation.ask(client, args, kwargs)
    except Exception as error:
        refused = None if client.failure is not None else _refusal(operation, error)
        if refused is None:
            raise
        return refused
    if client.failure is not None:
        raise client.failure
    return _answer(operation, result)


def _again_from(operation: "ReadSeam[..., R]", decision: Decision, asked: Arguments) -> Answer:
    args, kwargs = asked
    transport = shadowing(decision.service, decision.store, operation.identity(args, kwargs))
    return _asked(operation, guarded(decision.service, decision.store, transport), asked)


def _again(operation: "ReadSeam[..., R]", decision: Decision, asked: Arguments) -> Answer:
    args, kwargs = asked
    try:
        with giving_way():
            return _answer(operation, operation.legacy(*args, **kwargs))
    except Exception as error:
        refused = _refusal(operation, error)
        if refused is None:
            raise
        return refused


def _again_reading(operation: "ReadSeam[..., R]", decision: Decision, asked: Arguments) -> Answer:
    """Have legacy answer a copy, without a chance to write."""
    with reading():
        return _again(operation, decision, asked)


def _answer(operation: "ReadSeam[..., R]", result: R) -> Answer:
    return Answer(status=200, content_type=JSON, body=encode(operation.comparable(result)))


def _refusal(operation: "ReadSeam[..., R]", error: Exception) -> Answer | None:
    refused = operation.refused(error)
    return None if refused is None else Answer(status=refused[0], content_type=JSON, body=encode(refused[1]))
