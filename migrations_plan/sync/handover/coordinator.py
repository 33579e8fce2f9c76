"""Drive one bucket towards the side that is to own it: look at both sides, do the one step that follows, look again.

Nothing is remembered between two steps but what the rows of both sides say. A coordinator that dies leaves, at worst, a
bucket that nobody writes; the next one goes on from there. A second one at the same time loses a swap, and looks again.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic

from django.db import OperationalError

from migrations_plan.sync.aggregates import Aggregate, members
from migrations_plan.sync.errors import PeerUnavailable, SyncError
from migrations_plan.sync.handover import audit, goals
from migrations_plan.sync.handover.rules import Action, Do, next_action
from migrations_plan.sync.messages import BucketLook, Outcome, Sent, Side

logger = logging.getLogger("strangler.handover")

PAUSE_SECONDS = 0.01
"""Between two looks at a bucket that is not drained, or after a lost swap."""
TORN_TRIES = 200
"""So many looks in a row that fit no line are no accident."""
BATCH = 500
LONGEST_SECONDS = 20.0
"""After what it may rightly take, a coordinator leaves a bucket to the next one after so long."""
LONGEST_PAUSE_SECONDS = 0.5
FEW = 20
"""So many changes that wait are sent soon enough while nobody may write."""
SENDS_BEFORE = 5
"""How often to send before freezing where more keep coming."""


class NotYet(SyncError):
    """The bucket cannot change hands now; it stays where it is."""


class Undecided(SyncError):
    """The change of hands has begun and could not be ended: nobody writes in the bucket until a coordinator goes on."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Under which conditions a bucket is frozen, and for how long it may stay so."""

    begin: bool = True
    """Whether an owner may be frozen at all. The sweeper only ends what somebody else has begun."""
    hold_seconds: float = 2.0
    """How long nobody may write in a bucket before it is given back to its owner."""
    lock_seconds: float = 10.0
    """How long to try to get in between the transactions of those who write in it, again and again."""
    before: Callable[[int, BucketLook], None] = lambda bucket, source: None
    """Called before freezing; raises NotYet if the bucket has to stay."""
    frozen: Callable[[int], None] = lambda bucket: None
    """Called when everything has arrived, before the commit; raises NotYet if the bucket has to go back."""
    announce_seconds: float = 0.0
    """How long it is known that buckets will change hands before the first of them does."""
    intents_seconds: float = 5.0
    """How long to wait for work that is under way in the bucket."""
    wait: Callable[[float], None] = lambda seconds: None


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a bucket came to where it is."""

    bucket: int
    owner: str
    steps: tuple[str, ...]
    held_seconds: float | None = None
    """From the freezing to the commit or the reopening, where this coordinator did both."""
    late: bool = False
    """Whether it was to stay where it was, and had gone already."""


@dataclass(kw_only=True)
class _Drive:
    """What one coordinator remembers of one bucket; none of it decides anything but when to give up."""

    aggregate: Aggregate
    bucket: int
    sides: Mapping[str, Side]
    terms: Terms
    steps: list[str] = field(default_factory=list)
    began: float = field(default_factory=monotonic)
    frozen_at: float | None = None
    held: float | None = None
    given_up: str = ""
    late: bool = False
    torn: int = 0
    locked_out: int = 0
    """How often in a row a swap had to give way to those who write in the bucket."""
    target_seen: tuple[str, BucketLook] | None = None
    """What the side that is to own the bucket was a moment ago, before a step that does not change it."""

    @property
    def age(self) -> float:
        """Return the seconds since it was begun."""
        return monotonic() - self.began


def drive(aggregate: Aggregate, bucket: int, sides: Mapping[str, Side], terms: Terms) -> Done:
    """Bring a bucket to the side that its goal names; give it back where that cannot be done in time.

    Raises NotYet where the bucket is where it was, Undecided or PeerUnavailable where it is in between.
    """
    run = _Drive(aggregate=aggregate, bucket=bucket, sides=sides, terms=terms)
    while True:
        goal = goals.goal_of(aggregate, bucket)
        if goal is None:
            raise NotYet(f"Nobody has said who is to own bucket {bucket} of {aggregate.group}.")
        target, source = _look(run, goal)
        action = next_action(target, source)
        if action.do is Do.NOTHING:
            return _finished(run, goal)
        _do(run, goal, action, target, source)
        if run.age > terms.lock_seconds + terms.intents_seconds + terms.hold_seconds + LONGEST_SECONDS:
            raise Undecided(
                f"Bucket {bucket} of {aggregate.group} could not be brought to {goal} in {run.age:.0f} s. It is tried "
                "again by the sweeper; `sync status` shows what both sides are to it."
            )


def _look(run: _Drive, goal: str) -> tuple[BucketLook, BucketLook]:
    """Look at both sides; at the one that is to own the bucket not again while the other is frozen and emptied.

    That saves a call for which nobody may write. Whoever changes the row meanwhile makes the commit's swap fail.
    """
    seen, run.target_seen = run.target_seen, None
    if seen is not None and seen[0] == goal:
        target = seen[1]
    else:
        (target,) = run.sides[goal].look(run.aggregate.name, (run.bucket,))
    (source,) = run.sides[_other(run, goal)].look(run.aggregate.name, (run.bucket,))
    return target, source


def _finished(run: _Drive, goal: str) -> Done:
    goals.note_reached(run.aggregate, run.bucket, goal)
    if run.given_up and not run.late:
        raise NotYet(run.given_up)
    return Done(bucket=run.bucket, owner=goal, steps=tuple(run.steps), held_seconds=run.held, late=run.late)


def _do(run: _Drive, goal: str, action: Action, target: BucketLook, source: BucketLook) -> None:
    """Take one step; what became of it is seen at the next look."""
    if action.do is Do.LOOK_AGAIN:
        _count_torn(run)
        return
    run.torn = 0
    if action.do is Do.FREEZE:
        _before_freezing(run, source, goal)
    if action.do is Do.COMMIT and not _ready(run, goal, source):
        run.target_seen = goal, target
        return
    done = _swap(run, goal, action)
    if done and action.do is Do.FREEZE:
        run.target_seen = goal, target
    if done and action.late:
        # Going on to where it was to be would be a change of hands of its own, which somebody has to ask for.
        run.late = True
        goals.set_goals(run.aggregate, [run.bucket], _other(run, goal), actor="coordinator")


def _before_freezing(run: _Drive, source: BucketLook, goal: str) -> None:
    if not run.terms.begin:
        raise NotYet(f"Bucket {run.bucket} of {run.aggregate.group} waits for somebody who begins its change of hands.")
    if not source.backfilled:
        raise NotYet(f"Not every key of bucket {run.bucket} of {run.aggregate.group} has been marked. Backfill it.")
    run.terms.before(run.bucket, source)
    while source.intents:
        if run.age > run.terms.intents_seconds:
            raise NotYet(
                f"In bucket {run.bucket} of {run.aggregate.group} {source.intents} pieces of work have been under way "
                f"for {run.terms.intents_seconds:g} s. They have to end first: where they are sagas, `sagas list` at "
                "the side that owns the bucket names them."
            )
        run.terms.wait(10 * PAUSE_SECONDS)
        (source,) = run.sides[_other(run, goal)].look(run.aggregate.name, (run.bucket,))
    _send_beforehand(run, goal, source)
    if run.age > run.terms.lock_seconds:
        raise NotYet(
            f"Bucket {run.bucket} of {run.aggregate.group} could not be frozen for {run.terms.lock_seconds:g} s: a "
            "transaction that writes in it has been open all the time."
        )


def _send_beforehand(run: _Drive, goal: str, source: BucketLook) -> None:
    """Send what waits while the bucket may still be written in, so that little is left for when it may not."""
    for _ in range(SENDS_BEFORE):
        if not source.waiting:
            return
        try:
            _send(run, goal)
        except PeerUnavailable as away:
            if not away.busy:
                raise
            return
        (source,) = run.sides[_other(run, goal)].look(run.aggregate.name, (run.bucket,))
        if source.waiting <= FEW:
            return


def _ready(run: _Drive, goal: str, source: BucketLook) -> bool:
    """Return whether everything has arrived and was looked at; else send what has not, or give the bucket back."""
    if run.frozen_at is None:
        run.frozen_at = monotonic()  # somebody else froze it, at whatever time
    if not source.backfilled:  # triggers were found missing since: what they did not see has no mark to wait for
        _give_back(run, goal, f"Not every key of bucket {run.bucket} of {run.aggregate.group} is marked any more.")
        return False
    try:
        if source.waiting == 0:
            run.terms.frozen(run.bucket)
            return True
        _send(run, goal)
    except NotYet as reason:
        _give_back(run, goal, str(reason))
        return False
    except PeerUnavailable as away:
        if not away.busy:
            raise
        run.terms.wait(PAUSE_SECONDS)  # it has its hands full with what the relay sends, and is done with it soon
    if monotonic() - run.frozen_at > run.terms.hold_seconds:
        _give_back(
            run,
            goal,
            f"Bucket {run.bucket} of {run.aggregate.group} was frozen for {run.terms.hold_seconds:g} s, and "
            f"{source.waiting} changes in it had not arrived.",
        )
    return False


def _give_back(run: _Drive, goal: str, reason: str) -> None:
    """Say that the bucket is to stay where it was; the next look finds out how that is done."""
    other = next(name for name in run.sides if name != goal)
    logger.warning("%s %s: given back to %s: %s", run.aggregate.group, run.bucket, other, reason)
    goals.set_goals(run.aggregate, [run.bucket], other, actor="coordinator")
    run.given_up = reason


def _send(run: _Drive, goal: str) -> None:
    """Send what is marked in the bucket, whatever else waits; raise NotYet where it is not taken."""
    source, target = (run.sides[name] for name in (_other(run, goal), goal))
    for aggregate in members(run.aggregate.group) or (run.aggregate,):
        changes = source.changes(aggregate.name, BATCH, (run.bucket,))
        if not changes.documents:
            continue
        results = target.apply(aggregate.name, changes.documents)
        sent = tuple(Sent(key=one.key, gen=one.gen) for one in results if one.outcome.settles)
        if sent:
            source.ack(aggregate.name, sent, ())
        parked = [one for one in results if one.outcome is Outcome.PARKED]
        if parked:
            raise NotYet(f"{aggregate.name} {parked[0].key} is not taken by {goal}: {parked[0].reason}")


def _swap(run: _Drive, goal: str, action: Action) -> bool:
    """Swap a row, if it still is what was seen; return whether it was."""
    assert action.change is not None
    where = goal if action.at_target else _other(run, goal)
    try:
        done = run.sides[where].change(run.aggregate.name, action.change)
    except OperationalError as busy:  # a lock timeout: nothing has happened
        logger.info("%s %s: %s has to wait: %s", run.aggregate.group, run.bucket, action.do, busy)
        done = False
    except PeerUnavailable as away:
        if not away.busy:
            raise
        done = False
    if not done:
        # Those who write wait behind us while we wait, so they get ever more time in between.
        run.terms.wait(min(PAUSE_SECONDS * 2**run.locked_out, LONGEST_PAUSE_SECONDS))
        run.locked_out += 1
        return False
    run.locked_out = 0
    _note(run, goal, action, where)
    return True


def _note(run: _Drive, goal: str, action: Action, where: str) -> None:
    assert action.change is not None
    run.steps.append(action.do.value)
    now = monotonic()
    if action.do is Do.FREEZE:
        run.frozen_at = now
    if action.do in {Do.COMMIT, Do.REOPEN} and run.frozen_at is not None:
        run.held = now - run.frozen_at
    audit.note(run.aggregate, run.bucket, action, where, goal, run.held, run.given_up)


def _other(run: _Drive, goal: str) -> str:
    return next(name for name in run.sides if name != goal)


def _count_torn(run: _Drive) -> None:
    run.torn += 1
    if run.torn > TORN_TRIES:
        raise Undecided(
            f"What the two sides are to bucket {run.bucket} of {run.aggregate.group} fits no rule of the protocol. "
            "Has one of their databases been restored from a backup? `sync status` shows both."
        )
    run.terms.wait(PAUSE_SECONDS)
