"""Bring changes from one side to the other until nothing is marked any more.

Read in one snapshot, sent outside any transaction, acknowledged only after a positive answer and only as far as it was
sent. A relay that dies at any point has done nothing that a second one would not do again without harm.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from time import monotonic

from migrations_plan.sync import backfill, lag, ownership
from migrations_plan.sync.aggregates import Aggregate
from migrations_plan.sync.conf import conf
from migrations_plan.sync.errors import PeerUnavailable
from migrations_plan.sync.messages import Document, Held, Outcome, Result, Sent
from migrations_plan.sync.sending import Sender, versions
from migrations_plan.sync.sides import Direction

logger = logging.getLogger("strangler.sync")

REFUSED_SECONDS = 1.0
PARKED_SECONDS = 2.0
NOTHING_THERE_SECONDS = 1.0
TURN_SECONDS = 0.5
"""For so long one of several aggregates may keep the others waiting."""
IDLE_SECONDS = (0.1, 0.05, 0.1, 0.2)
"""The pauses: after something was sent, so that more comes together; then longer, as nothing is found again."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one run did."""

    direction: str
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    waiting: int = 0
    """Marked aggregates when it was last asked."""
    away: str = ""
    """Why it ended early, empty if it did not."""
    retry_after: float = 0.0

    @property
    def sent(self) -> int:
        """Return how many documents were sent."""
        return sum(self.outcomes.values())

    def __str__(self) -> str:
        told = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in sorted(self.outcomes.items()))
        away = f"; {self.away}" if self.away else ""
        return f"{self.direction}: {told or 'nothing to send'}{away}"


def relay(
    aggregate: Aggregate,
    direction: Direction,
    *,
    renew: Callable[[], None] = lambda: None,
    seconds: float = math.inf,
) -> Report:
    """Send everything that is due, batch by batch, for no longer than some time; ``renew`` is called before each.

    Where somebody writes all the time there is always something due, so a caller with more to do names a time.
    """
    with lag.recording(aggregate.alias, aggregate.name, direction.name) as lags:
        return _relay(aggregate, direction, renew=renew, seconds=seconds, lags=lags)


def _relay(
    aggregate: Aggregate, direction: Direction, *, renew: Callable[[], None], seconds: float, lags: lag.Recorder
) -> Report:
    until, limit = monotonic() + seconds, conf().batch_documents
    outcomes: Counter[Outcome] = Counter()
    waiting, ahead = 0, None
    recent: tuple[frozenset[tuple[str, int]], ...] = ()

    def settle(documents: Sequence[Document], results: Sequence[Result]) -> None:
        arrived = datetime.now(UTC)
        _acknowledge(aggregate, direction, results)
        outcomes.update(result.outcome for result in results)
        since = _backfilled_until(aggregate, direction, waiting)
        lags.add(_lags(documents, results, arrived, since))

    try:
        with Sender(aggregate.name, direction, limit, settle) as sender:
            while True:
                renew()
                if ahead is None or not ahead.documents:
                    ahead = direction.source.changes(aggregate.name, limit)
                    waiting = ahead.waiting
                sent = versions(ahead.documents)
                # The same ones again: a long transaction holds their marks, so they could not be acknowledged.
                if not sent or any(sent <= before for before in recent):
                    break
                recent = (*recent[-1:], sent)
                ahead = sender.send(ahead.documents)
                if monotonic() >= until:
                    break
    except PeerUnavailable as away:
        logger.warning("%s %s: %s Everything stays marked.", aggregate.name, direction.name, away)
        return Report(
            direction=direction.name, outcomes=outcomes, waiting=waiting, away=str(away), retry_after=away.retry_after
        )
    return Report(direction=direction.name, outcomes=outcomes, waiting=waiting)


def relay_for(
    together: Sequence[Aggregate],
    direction: Direction,
    seconds: float,
    *,
    renew: Callable[[], None],
    wait: Callable[[float], None],
) -> Report:
    """Relay again and again for some time, so that changes need not wait for the next hint that there are some.

    Aggregates that change hands together take turns, so that one worker's thread is enough for all of them.
    """
    with ExitStack() as recorders:
        turns = [(one, recorders.enter_context(lag.recording(one.alias, one.name, direction.name))) for one in together]
        return _relay_for(turns, direction, monotonic() + seconds, renew=renew, wait=wait)


def _relay_for(
    turns: Sequence[tuple[Aggregate, lag.Recorder]],
    direction: Direction,
    until: float,
    *,
    renew: Callable[[], None],
    wait: Callable[[float], None],
) -> Report:
    total: Counter[Outcome] = Counter()
    idle = 0
    while True:
        waiting, sent = 0, 0
        for aggregate, lags in turns:
            seconds = min(until - monotonic(), TURN_SECONDS if len(turns) > 1 else math.inf)
            report = _relay(aggregate, direction, renew=renew, seconds=seconds, lags=lags)
            total.update(report.outcomes)
            waiting, sent = waiting + report.waiting, sent + report.sent
            if report.away:
                return replace(report, outcomes=total, waiting=waiting)
        if monotonic() >= until:
            return Report(direction=direction.name, outcomes=total, waiting=waiting)
        idle = 0 if sent else idle + 1
        wait(_pause(turns[0][0], direction, idle))


def _pause(leader: Aggregate, direction: Direction, idle: int) -> float:
    """Return for how long nothing is looked for. The other side is not asked all the time for what it cannot have.

    While this side owns every bucket, the other one is the replica of each, and relays nothing.
    """
    if idle and direction.target.name == conf().side and ownership.owns_all(leader):
        return NOTHING_THERE_SECONDS
    return IDLE_SECONDS[min(idle, len(IDLE_SECONDS) - 1)]


def _acknowledge(aggregate: Aggregate, direction: Direction, results: Sequence[Result]) -> None:
    sent = tuple(Sent(key=one.key, gen=one.gen) for one in results if one.outcome.settles)
    held = tuple(_held(one) for one in results if not one.outcome.settles)
    direction.source.ack(aggregate.name, sent, held)


def _held(result: Result) -> Held:
    seconds = PARKED_SECONDS if result.outcome is Outcome.PARKED else REFUSED_SECONDS
    reason = result.reason or result.outcome.replace("_", " ")
    return Held(key=result.key, gen=result.gen, seconds=seconds, reason=reason)


def _lags(
    documents: Sequence[Document], results: Sequence[Result], arrived: datetime, since: datetime | None
) -> list[float]:
    """Return how long changes took to arrive. What a backfill has marked, or stood behind that, waited for its turn."""
    changed = [
        datetime.fromisoformat(document.changed_at)
        for document, result in zip(documents, results, strict=True)
        if result.outcome is Outcome.APPLIED and document.changed_at
    ]
    return [(arrived - at).total_seconds() for at in changed if since is None or at > since]


def _backfilled_until(aggregate: Aggregate, direction: Direction, waiting: int) -> datetime | None:
    """Return until when what a backfill of this side had marked was under way; None if there was none."""
    found = backfill.standing(aggregate) if direction.source.name == conf().side else None
    if found is None:
        return None
    if found.sent_at is None and found.finished_at is not None and waiting <= conf().batch_documents:
        return backfill.note_sent(aggregate)
    return found.sent_at or datetime.max.replace(tzinfo=UTC)
